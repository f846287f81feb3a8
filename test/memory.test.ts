import { expect, test } from 'vitest'
import { goldenFolder, program } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { count } from './support/verify.ts'

test('a loop that awaits does not grow', { timeout: 600_000 }, async () => {
  const { stdout, stderr } = await runNode(['--expose-gc', program('encode-in-a-loop.mjs'), String(count(100, 1000))])
  expect(stderr).toBe('')
  const { grown, peak, given } = JSON.parse(stdout) as Record<'grown' | 'peak' | 'given', number>
  expect(given).toBeGreaterThan(300)
  expect(grown).toBeLessThan(50)
  // Results are let go of on the way, not only at the end.
  expect(peak).toBeLessThan(250)
})

test('a result that is disposed of serves the next call', { timeout: 600_000 }, async () => {
  const warm = async (...args: string[]) => {
    const { stdout } = await runNode(['--expose-gc', program('encode-in-a-loop.mjs'), '1', ...args])
    return (JSON.parse(stdout) as { warm: number }).warm
  }
  // 64 MB of results, which is what V8 lets come before it collects.
  expect(await warm('dispose')).toBeLessThan(20)
  expect(await warm()).toBeGreaterThan(40)
})

test('a model that was disposed of leaves no words behind', { timeout: 600_000 }, async () => {
  // The tokenizers library keeps each word that BPE has split for as long as the thread lives: 320 MB here, if it is let.
  const model = goldenFolder('../goldens-extra/text-byte-level')
  const { stdout, stderr } = await runNode(['--expose-gc', program('dispose-in-a-loop.mjs'), model, '40'])
  expect(stderr).toBe('')
  expect((JSON.parse(stdout) as { grown: number }).grown).toBeLessThan(120)
})
