import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { sharedLibrary } from './support/elf.ts'
import { CLI, temporaryFolder } from './support/paths.ts'
import { type Ended, runNode } from './support/process.ts'
import { addPlatform, emptyTree, GLIBC, PLATFORM, VERSION } from './support/tree.ts'

const NAME = `@bert-layers/${PLATFORM}`

function doctor(args: string[] = [], env?: NodeJS.ProcessEnv, cli = CLI): Promise<Ended> {
  return runNode([cli, 'doctor', ...args], { env: { BERT_LAYERS_NATIVE: '', ...env } })
}

describe('bert-layers doctor', () => {
  test('says what is here and what would be loaded', async () => {
    const { stdout, stderr, code } = await doctor()
    expect([stderr, code]).toEqual(['', 0])
    expect(stdout).toMatch(new RegExp(`^bert-layers ${VERSION}\n  platform +${PLATFORM} `))
    expect(stdout).toMatch(new RegExp(`^  Node.js +${process.versions.node}$`, 'm'))
    expect(stdout).toMatch(/^ {2}loads .*bert-layers/m)
    expect(stdout).toMatch(/^ {2}instructions \w+$/m)
    expect(stdout).toMatch(/^ {2}devices .*\bcpu\b/m)
    expect(stdout).toContain(`@bert-layers/all-minilm-l6-v2 ${VERSION} in `)
  })

  test('as JSON, with the settings in the environment but no secret', async () => {
    const cache = join(temporaryFolder(), 'nowhere')
    const env = { HF_HUB_CACHE: cache, HF_TOKEN: 'hf_secret', BERT_LAYERS_ISA: 'portable' }
    for (const args of [['--json'], ['--format', 'json']]) {
      const { stdout, code } = await doctor(args, env)
      expect([code, stdout.includes('hf_secret')]).toEqual([0, false])
      const { version, platform, loads, devices, tried, advice, cache: found, environment } = JSON.parse(stdout)
      expect([version, loads.version, loads.instructionSet]).toEqual([VERSION, VERSION, 'portable'])
      expect(platform).toMatchObject({ name: PLATFORM, os: process.platform, cpu: process.arch })
      expect(platform.libcVersion).toBe(GLIBC)
      expect(devices).toContain('cpu')
      expect(tried).toContainEqual({ source: loads.source, problem: null })
      expect([advice, found]).toEqual([null, { folder: cache, exists: false }])
      expect(environment).toMatchObject({ HF_HUB_CACHE: cache, HF_TOKEN: '(set)' })
    }
  })

  test('works when no binary loads, and says what to do', async () => {
    const folder = emptyTree()
    const cli = join(folder, 'node_modules/bert-layers/dist/cli.js')
    const { stdout, stderr, code } = await doctor([], {}, cli)
    expect([stderr, code]).toEqual(['', 1])
    expect(stdout).toMatch(/^ {2}loads +nothing$/m)
    expect(stdout).toContain(`${NAME} is not installed`)
    expect(stdout).toContain(`run 'npm install ${NAME}@${VERSION}'`)
    const report = JSON.parse((await doctor(['--json'], {}, cli)).stdout)
    expect([report.loads, report.devices]).toEqual([null, []])
    expect(report.advice).toContain('--omit=optional')
  })

  test.runIf(GLIBC)('survives a binary that crashes, and a package of another version', async () => {
    const file = join(temporaryFolder(), 'crash.node')
    writeFileSync(file, sharedLibrary({ onLoad: 'crash' }))
    const crashed = await doctor([], { BERT_LAYERS_NATIVE: file })
    expect([crashed.code, crashed.stderr]).toEqual([1, ''])
    expect(crashed.stdout).toMatch(/it failed in a process of its own \(SIG\w+\)/)

    const folder = emptyTree()
    addPlatform(folder, PLATFORM, '', '7.7.7')
    const { stdout, code } = await doctor([], {}, join(folder, 'node_modules/bert-layers/dist/cli.js'))
    expect(code).toBe(1)
    expect(stdout).toContain(`it is version 7.7.7, and this is bert-layers ${VERSION}`)
  })

  test('takes nothing that would be without effect', async () => {
    for (const [args, message] of [
      [['text'], 'doctor takes no texts'],
      [['--device', 'cpu'], 'doctor has no option --device; it has: --format'],
    ] as const) {
      const { stderr, code } = await doctor([...args])
      expect([stderr.split('\n')[0], code]).toEqual([`bert-layers: ${message}`, 2])
    }
  })
})
