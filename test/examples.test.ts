import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { correlation, readPairs } from '../examples/sts/spearman.mjs'
import { ROOT, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'

const CSV = `A man is playing a guitar.,"A man plays a guitar, loudly.",4.6
A dog runs.,"He said ""hello"".",0.2
The river is wide.,The wide river.,4
Stocks fell.,A woman is cooking.,0.4
`

test('pairs of sentences are read from CSV', () => {
  expect(readPairs(CSV).map(({ second }) => second)).toEqual([
    'A man plays a guitar, loudly.',
    'He said "hello".',
    'The wide river.',
    'A woman is cooking.',
  ])
  expect(() => readPairs('a,b\n')).toThrow(/line 1/)
})

test("Spearman's correlation, with ties", () => {
  // scipy.stats.spearmanr([1, 2, 2, 5, 3], [0, .5, .6, .7, .6]) is 0.9210526315789475.
  const scores = [1, 2, 2, 5, 3]
  const cosines = [0, 0.5, 0.6, 0.7, 0.6]
  const pairs = scores.map(score => ({ first: '', second: '', score }))
  const vectors = { get: (i: number) => (i % 2 === 0 ? [1, 0] : at(cosines[(i - 1) / 2]!)) }
  const at = (cosine: number) => [cosine, Math.sqrt(1 - cosine * cosine)]
  expect(correlation(pairs, vectors)).toBeCloseTo(92.10526315789475, 9)
})

test('the table of layers', async () => {
  const file = join(temporaryFolder(), 'pairs.csv')
  writeFileSync(file, CSV)
  const { code, stdout, stderr } = await runNode([join(ROOT, 'examples/sts.mjs'), file])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout.match(/^ {4}\d {2,}[\d.]+ +[\d.-]+ +[\d.]+$/gm)).toHaveLength(7)
  expect(stdout).toMatch(/the model's own vectors \(mean, by its own files\): [\d.]+/)
})
