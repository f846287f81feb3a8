import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { ROOT } from './support/paths.ts'

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const examples = [...readme.matchAll(/^```(?:js|ts)\n(.*?)^```/gms)].map(match => match[1]!)

/** Runs a program from the root of the package, where `import 'bert-layers'` means the package itself. */
async function run(code: string): Promise<string> {
  const args = ['--input-type=module', '--eval', code]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  return stdout + stderr
}

/** As it is written, but for `await using`, which Node 20 does not know yet. */
async function runnable(code: string): Promise<string> {
  if (!code.includes('await using')) return code
  return (await transform(code, { loader: 'ts', target: 'node20', format: 'esm' })).code
}

describe('README', () => {
  it.each(examples.map((code, i) => [i, code] as const))('example %i runs', async (i, code) => {
    const output = await run(await runnable(code))
    if (i === 0) expect(output.match(/^layer \d:/gm)).toHaveLength(7)
  })

  it('has examples', () => {
    expect(examples.length).toBeGreaterThanOrEqual(3)
  })
})
