import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { realBinary } from './support/tree.ts'

const HOSTS = join(ROOT, 'test/hosts')
const IMPORT = Buffer.from('\0napi_create_external_arraybuffer\0')
const RENAMED = Buffer.from('\0napi_create_external_arraybuffeR\0')

/**
 * Node itself cannot be told to forbid external buffers, and a preloaded library comes after Node's own symbols: so the import of a copy of the
 * binary is renamed, and the preloaded library has the new name.
 */
function refusing(folder: string) {
  const binary = readFileSync(realBinary())
  const at = binary.indexOf(IMPORT)
  expect(at, 'the import').toBeGreaterThan(0)
  RENAMED.copy(binary, at)
  const [native, library] = [join(folder, 'renamed.node'), join(folder, 'refuse.so')]
  writeFileSync(native, binary)
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(HOSTS, 'refuse-external-buffers.c')])
  return { BERT_LAYERS_NATIVE: native, LD_PRELOAD: library }
}

const hasCompiler = process.platform === 'linux' && spawnSync('cc', ['--version']).status === 0
if (!hasCompiler) console.log('not run: external buffers are refused on Linux, by a library that cc compiles')

test.runIf(hasCompiler)('a host that forbids external buffers gets copies', { timeout: 600_000 }, async () => {
  const env = refusing(temporaryFolder())
  const chosen = ['Transformers', 'views', 'stays as it is', 'worker threads']
  const { code, stdout, stderr } = await runNode([join(HOSTS, 'checks.mjs'), join(ROOT, 'test/fixtures'), ...chosen], {
    env,
  })
  expect(stdout).toMatch(/6 of the chosen checks passed/)
  expect(code).toBe(0)
  expect(Number(/refused (\d+) external buffers/.exec(stderr)?.[1])).toBeGreaterThan(120)
})
