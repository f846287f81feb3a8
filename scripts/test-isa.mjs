#!/usr/bin/env node
/**
 * All tests once more with each other instruction set that this machine has kernels for (after `npm run build`):
 *
 *     node scripts/test-isa.mjs [SET...]        amx, avx512, avx2, neon, portable
 *
 * `npm test` runs the kernels and the comparisons with Transformers on all of them, and everything else on the best.
 */
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const SETS = ['amx', 'avx512', 'avx2', 'neon', 'portable']

const environment = set => ({ ...process.env, BERT_LAYERS_ISA: set })

/** The set in use where that one is asked for; undefined if it cannot run here. */
function chosen(set) {
  const { stdout } = spawnSync(process.execPath, ['dist/cli.js', 'inspect', '--format', 'json'], {
    cwd: ROOT,
    env: environment(set),
  })
  try {
    return JSON.parse(stdout.toString()).instructionSet
  } catch {
    return undefined
  }
}

const best = chosen('')
const asked = process.argv.slice(2)
const sets = asked.length > 0 ? asked : SETS.filter(set => set !== best && chosen(set) === set)
for (const set of sets) {
  for (const command of ['cargo test --workspace', 'npx vitest run']) {
    console.log(`\nBERT_LAYERS_ISA=${set} ${command}`)
    const [program, ...args] = command.split(' ')
    const options = { cwd: ROOT, stdio: 'inherit', env: environment(set), shell: process.platform === 'win32' }
    if (spawnSync(program, args, options).status !== 0) {
      console.error(`${command} failed with the instruction set ${set}`)
      process.exit(1)
    }
  }
}
