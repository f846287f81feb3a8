/** The gate before publishing: tarballs with stand-ins for what they hold, and one fault each. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedLibrary } from './support/elf.ts'
import { ROOT, temporaryFolder } from './support/paths.ts'
import { PLATFORM } from './support/tree.ts'

interface Manifest {
  name: string
  version: string
  files: string[]
  [key: string]: unknown
}
interface Published {
  tarball: string
  expected: Manifest
  platform?: { name: string; os: string; cpu: string }
}
const { packagesToPublish, tarballProblems } = (await import('../scripts/check-tarballs.mjs' as string)) as {
  packagesToPublish(): Published[]
  tarballProblems(folder: string, version?: string): string[]
}

const { namedCrates, notices } = (await import('../scripts/notices.mjs' as string)) as {
  namedCrates(platform: object): string[]
  notices(platform: object): string
}
const { PLATFORMS } = (await import('../scripts/platforms.mjs' as string)) as { PLATFORMS: { name: string }[] }

const NOTICES = 'THIRD-PARTY-NOTICES.txt'
const all = packagesToPublish()
const main = all.at(-1)!
const some = (name: string) => all.find(({ platform }) => platform?.name === name)!
let complete: string

const platformOf = (name: string) => PLATFORMS.find(platform => platform.name === name)!
/** As short as the gate accepts it. */
const noticesOf = (name: string) =>
  namedCrates(platformOf(name))
    .map(crate => `${crate}: MIT\n`)
    .join('')

/** The first bytes of a binary, which say what it is for. */
function binaryFor(os: string, cpu: string): Buffer {
  if (os === 'linux') return sharedLibrary({}, cpu)
  const bytes = Buffer.alloc(256)
  if (os === 'darwin') {
    bytes.writeUInt32LE(0xfeedfacf)
    bytes.writeUInt32LE(cpu === 'x64' ? 0x01000007 : 0x0100000c, 4)
    return bytes
  }
  bytes.write('MZ')
  bytes.writeUInt32LE(128, 60)
  bytes.write('PE\0\0', 128)
  bytes.writeUInt16LE(cpu === 'x64' ? 0x8664 : 0xaa64, 132)
  return bytes
}

function writeTarball(
  folder: string,
  { tarball, expected, platform }: Published,
  files: Record<string, Buffer> = {},
): void {
  const stage = mkdtempSync(join(folder, 'stage-'))
  const content: Record<string, Buffer> = { 'README.md': Buffer.from('readme'), LICENSE: Buffer.from('licence') }
  for (const name of expected.files) content[name] = platform ? binaryFor(platform.os, platform.cpu) : Buffer.from(name)
  if (platform) content[NOTICES] = Buffer.from(noticesOf(platform.name))
  for (const [name, bytes] of Object.entries({ ...content, ...files })) {
    const path = join(stage, 'package', name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, bytes)
  }
  writeFileSync(join(stage, 'package/package.json'), JSON.stringify(expected))
  const { status, stderr } = spawnSync('tar', ['-czf', tarball, 'package'], { cwd: stage, encoding: 'utf8' })
  expect(stderr + status).toBe('0')
  copyFileSync(join(stage, tarball), join(folder, tarball))
  rmSync(stage, { recursive: true })
}

beforeAll(() => {
  complete = mkdtempSync(join(tmpdir(), 'bert-layers-gate-'))
  for (const each of all) writeTarball(complete, each)
})
afterAll(() => rmSync(complete, { recursive: true }))

/** A complete folder but for what is done to it. */
function folderWith(change: (folder: string) => void): string {
  const folder = temporaryFolder()
  for (const name of readdirSync(complete)) copyFileSync(join(complete, name), join(folder, name))
  change(folder)
  return folder
}

function problemsWith(change: (folder: string) => void): string[] {
  return tarballProblems(folderWith(change))
}

describe('the gate before publishing', () => {
  test('lets a complete folder through', () => {
    expect(tarballProblems(complete)).toEqual([])
    expect(tarballProblems(complete, `v${main.expected.version}`)).toEqual([])
    expect(all).toHaveLength(12)
  })

  test('misses each package that is not there', () => {
    const missing = all.map(({ tarball }) => `${tarball} is missing`)
    expect(tarballProblems(temporaryFolder())).toEqual(missing)
    expect(tarballProblems(join(temporaryFolder(), 'none'))).toEqual(missing)
    for (const { tarball } of [some('linux-arm64-musl'), some('linux-x64-gnu-cuda'), main]) {
      expect(problemsWith(folder => rmSync(join(folder, tarball)))).toEqual([`${tarball} is missing`])
    }
  })

  test('refuses the version of another tag', () => {
    expect(tarballProblems(complete, 'v9.9.9')).toEqual([
      `this is version ${main.expected.version}, and v9.9.9 is to be published`,
    ])
  })

  test('refuses versions that do not agree, and tarballs of another time', () => {
    const { tarball, expected } = main
    const optionalDependencies = {
      ...(expected.optionalDependencies as object),
      '@bert-layers/linux-x64-gnu': '^0.1.0',
    }
    const [problem] = problemsWith(folder =>
      writeTarball(folder, { ...main, expected: { ...expected, optionalDependencies } }),
    )
    expect(problem).toMatch(new RegExp(`^${tarball}: optionalDependencies is .*"\\^0\\.1\\.0"`))
    const old = 'bert-layers-linux-x64-gnu-0.0.1.tgz'
    expect(problemsWith(folder => writeFileSync(join(folder, old), ''))).toEqual([
      `${old} is none of the packages of version ${expected.version}`,
    ])
  })

  test('refuses scripts', () => {
    const platform = some('linux-x64-gnu')
    const expected = { ...platform.expected, scripts: { postinstall: 'true' } }
    const problems = problemsWith(folder => writeTarball(folder, { ...platform, expected }))
    expect(problems).toContain(`${platform.tarball}: it has scripts`)
  })

  test('refuses a binary for another system or processor, a second one, one in the main package, none', () => {
    const { tarball, expected } = some('darwin-arm64')
    const wrong = { [expected.files[0]!]: binaryFor('darwin', 'x64') }
    expect(problemsWith(folder => writeTarball(folder, some('darwin-arm64'), wrong))).toEqual([
      `${tarball}: its binary is for darwin on x64`,
    ])
    const noBinary = { [expected.files[0]!]: Buffer.from('text'.repeat(100)) }
    expect(problemsWith(folder => writeTarball(folder, some('darwin-arm64'), noBinary))).toEqual([
      `${tarball}: its binary is for undefined on undefined`,
    ])
    const second = { 'other.node': binaryFor('linux', 'x64') }
    for (const each of [some('win32-x64-msvc'), main]) {
      const [problem] = problemsWith(folder => writeTarball(folder, each, second))
      expect(problem).toMatch(/its binaries are \[.*package\/other\.node.*\], not \[/)
    }
  })

  test('refuses a package without the licences of what is in its binary, or with those of another', () => {
    const each = some('linux-x64-gnu-cuda')
    const other = { [NOTICES]: Buffer.from(noticesOf('linux-x64-gnu')) }
    const [problem, ...more] = problemsWith(folder => writeTarball(folder, each, other))
    expect(problem).toMatch(new RegExp(`^${each.tarball}: ${NOTICES} does not name cudarc \\d[\\d.]*$`))
    expect(more).toEqual([])
    const files = each.expected.files.filter(name => name !== NOTICES)
    const without = problemsWith(folder => writeTarball(folder, { ...each, expected: { ...each.expected, files } }))
    expect(without[0]).toMatch(/files is /)
    expect(problemsWith(folder => writeTarball(folder, each, { [NOTICES]: Buffer.from('') }))[0]).toMatch(
      /does not name candle-core .*, onig_sys .*, tokenizers .*, cudarc /,
    )
  })

  test('ends publishing before anything is published', () => {
    const folder = folderWith(folder => rmSync(join(folder, some('win32-arm64-msvc').tarball)))
    const args = [join(ROOT, 'scripts/publish.mjs'), folder, '--dry-run']
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(stderr).toBe(`publish: ${some('win32-arm64-msvc').tarball} is missing\n`)
    expect([status, stdout]).toEqual([1, ''])
  })
})

describe('the licences of what is in a binary', () => {
  test('are those of what is linked, and of the C in it', () => {
    // Of this machine's platform: cargo has its crates, since it has built them.
    const text = notices(platformOf(PLATFORM))
    for (const crate of namedCrates(platformOf(PLATFORM))) expect(text).toContain(`\n${crate}: `)
    for (const name of ['candle-core', 'tokenizers', 'napi', 'safetensors', 'half']) {
      expect(text).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+: .*(MIT|Apache-2\\.0)`, 'm'))
    }
    expect(text).toContain('Copyright (c) 2002-2021  K.Kosako') // Oniguruma
    expect(text).toMatch(/Apache License\s+Version 2\.0/)
    // napi's sources have no file of their licence: the text with its authors.
    expect(text).toMatch(/^Copyright \(c\) Nathan Sobo, Yinan Long\n\nPermission is hereby granted/m)
    for (const name of ['bert-layers-node', 'proptest', 'napi-derive', 'syn', 'cc', 'cudarc']) {
      expect(text, name).not.toMatch(new RegExp(`^${name} \\d`, 'm'))
    }
  })
})

describe('publishing', () => {
  /** An npm that writes down how it was called, and knows one package already. */
  function publish(folder: string, ...options: string[]): { status: number | null; calls: string[] } {
    const bin = temporaryFolder()
    const log = join(bin, 'calls')
    writeFileSync(log, '')
    const program = `#!/bin/sh
echo "$*" >> '${log}'
case "$*" in
  view\\ @bert-layers/linux-x64-gnu@*) echo '"1"' ;;
  view*) echo '{ "error": { "code": "E404" } }'; exit 1 ;;
esac`
    writeFileSync(join(bin, 'npm'), program, { mode: 0o755 })
    const args = [join(ROOT, 'scripts/publish.mjs'), folder, ...options]
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
    const { status } = spawnSync(process.execPath, args, { env })
    const calls = spawnSync('cat', [log], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean)
    return { status, calls }
  }

  test.runIf(process.platform !== 'win32')('leaves out what is there already, and the main package comes last', () => {
    const { status, calls } = publish(complete, '--provenance')
    expect(status).toBe(0)
    const published = calls.filter(call => call.startsWith('publish '))
    expect(published).toEqual(
      all.slice(1).map(({ tarball }) => {
        return `publish ${join(complete, tarball)} --access public --ignore-scripts --tag latest --provenance`
      }),
    )
    expect(published.at(-1)).toContain(main.tarball)
  })

  test.runIf(process.platform !== 'win32')('publishes nothing in a dry run', () => {
    const { status, calls } = publish(complete, '--dry-run')
    expect(status).toBe(0)
    expect(calls).toEqual(all.map(({ tarball }) => `pack ${join(complete, tarball)} --dry-run --ignore-scripts`))
  })
})
