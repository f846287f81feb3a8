import { expect, test } from 'vitest'
import { program } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { count } from './support/verify.ts'

const MANY = count(6, 50)

test('worker threads load, encode and are terminated mid-encode', { timeout: 600_000 }, async () => {
  const { code, signal, stdout, stderr } = await runNode([program('terminate-workers.mjs'), String(MANY)])
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  const results = JSON.parse(stdout) as { value: number; exit: number }[]
  expect(results).toHaveLength(MANY)
  expect(new Set(results.map(result => result.exit))).toEqual(new Set([1]))
  expect(new Set(results.map(result => result.value)).size).toBe(1)
})

test('processes that exit mid-encode end with their own exit code', { timeout: 600_000 }, async () => {
  for (let run = 0; run < MANY; run++) {
    const { code, signal, stderr } = await runNode([program('exit-mid-encode.mjs'), String(run % 7)])
    expect({ code, signal, stderr }, `run ${run}`).toEqual({ code: 7, signal: null, stderr: '' })
  }
})
