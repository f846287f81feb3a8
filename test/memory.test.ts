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

test('a model that was disposed of leaves no words behind', { timeout: 600_000 }, async () => {
  // The tokenizers library keeps each word that BPE has split for as long as the thread lives: 320 MB here, if it is let.
  const model = goldenFolder('../goldens-extra/text-byte-level')
  const { stdout, stderr } = await runNode(['--expose-gc', program('dispose-in-a-loop.mjs'), model, '40'])
  expect(stderr).toBe('')
  expect((JSON.parse(stdout) as { grown: number }).grown).toBeLessThan(120)
})
