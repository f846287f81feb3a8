import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { ROOT } from './support/paths.ts'

const readme = readFileSync(`${ROOT}/README.md`, 'utf8')
const examples = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(match => match[1]!)

/** Runs a program from the root of the package, where `import 'bert-layers'` means the package itself. */
async function run(code: string): Promise<string> {
  const args = ['--input-type=module', '--eval', code]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT })
  return stdout + stderr
}

describe('README', () => {
  it.each(examples('ts').map((code, i) => [i, code] as const))('example %i runs', async (i, code) => {
    // Node 20 does not know `await using` yet.
    const { code: lowered } = await transform(code, { loader: 'ts', target: 'node20', format: 'esm' })
    const output = await run(lowered)
    if (i === 0) expect(output.match(/^layer \d:/gm)).toHaveLength(7)
    if (i === 1) expect(output).toMatch(/^bank 5 Float32Array\(384\)/)
    if (i === 2) expect(output).toContain("no model 'no-such-model'")
  })

  it('has the examples that this test knows', () => {
    expect(examples('ts')).toHaveLength(3)
  })
})
