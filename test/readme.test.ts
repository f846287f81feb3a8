import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { PACKAGE, ROOT } from './support/paths.ts'

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const blocks = (languages: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`(?:${languages})\\n(.*?)^\`\`\``, 'gms'))].map(match => match[1]!)
const examples = blocks('js|ts')

/** What a strict project of a user has. */
const STRICT = {
  target: 'ES2022',
  module: 'NodeNext',
  lib: ['ES2023', 'ESNext.Disposable'],
  types: ['node'],
  noEmit: true,
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
}

/** Runs a program from the root of the package, where `import 'bert-layers'` means the package itself. */
async function run(code: string): Promise<string> {
  const args = ['--input-type=module', '--eval', code]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  return stdout + stderr
}

/** As it is written, but for types and `await using`, which Node 20 does not know yet. */
async function runnable(code: string): Promise<string> {
  return (await transform(code, { loader: 'ts', target: 'node20', format: 'esm' })).code
}

describe('README', () => {
  it.each(examples.map((code, i) => [i, code] as const))('example %i runs', async (i, code) => {
    const output = await run(await runnable(code))
    if (i === 0) expect(output.match(/^layer \d:/gm)).toHaveLength(7)
  })

  it('has TypeScript that compiles in a strict project', async () => {
    const project = mkdtempSync(join(tmpdir(), 'bert-layers-readme-'))
    try {
      mkdirSync(join(project, 'node_modules'))
      symlinkSync(PACKAGE, join(project, 'node_modules/bert-layers'), 'junction')
      writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
      for (const [i, code] of blocks('ts').entries()) writeFileSync(join(project, `example-${i}.ts`), code)
      const compilerOptions = { ...STRICT, typeRoots: [join(ROOT, 'node_modules/@types')] }
      writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
      const output = await promisify(execFile)(process.execPath, [tsc, '-p', project]).then(
        () => '',
        (error: { stdout: string }) => error.stdout,
      )
      expect(output).toBe('')
    } finally {
      rmSync(project, { recursive: true })
    }
  })

  it('has examples', () => {
    expect(examples.length).toBeGreaterThanOrEqual(3)
  })
})
