import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type EmbedOptions, Encoder } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { correlation, readPairs } from '../examples/sts/spearman.mjs'
import { program } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { DATA, MODELS } from './support/real-models.ts'

const PAIRS = join(DATA, 'stsb/stsb-en-test.csv')
const BASE = join(MODELS, 'bert-base-uncased')
const MINILM = join(MODELS, 'all-minilm-l6-v2')

/** Runs the tests where the files are; says so where they are not. */
function describeWith(files: string[], name: string, tests: () => void): void {
  const missing = files.filter(file => !existsSync(file))
  if (missing.length === 0) describe(name, { timeout: 1_800_000 }, tests)
  else console.log(`not run: ${name} (no ${missing.join(', ')})`)
}

async function spearman(bert: Encoder, options: EmbedOptions<'float32'>): Promise<number> {
  const pairs = readPairs(readFileSync(PAIRS, 'utf8'))
  expect(pairs.length).toBe(1379)
  const vectors = await bert.embed(
    pairs.flatMap(({ first, second }) => [first, second]),
    options,
  )
  return correlation(pairs, vectors)
}

/** Published values, of the English test set. */
const TOLERANCE = 0.05

describeWith([PAIRS, BASE], 'bert-base-uncased on STS-B', () => {
  test.each([
    [47.29, { layers: 12, pool: 'mean' }],
    [53.87, { layers: [0, 12], pool: 'mean' }],
    [59.05, { layers: [1, 12], pool: 'mean' }],
    [20.29, { layers: 12, pool: 'cls' }],
  ] as const)('%d: %j', async (published, options) => {
    await using bert = await Encoder.fromPretrained(BASE)
    expect(Math.abs((await spearman(bert, options)) - published)).toBeLessThanOrEqual(TOLERANCE)
  })
})

describeWith([PAIRS, MINILM], 'all-minilm-l6-v2 on STS-B', () => {
  test('82.03 by its own defaults', async () => {
    await using bert = await Encoder.fromPretrained(MINILM)
    expect(Math.abs((await spearman(bert, {})) - 82.03)).toBeLessThanOrEqual(TOLERANCE)
  })
})

describeWith([BASE], 'memory', () => {
  test('the average of all 13 layers of 32 × 128 tokens needs within 60 MB of what one layer does', async () => {
    const peak = async (layers: string) => {
      const { stdout, stderr } = await runNode([program('embed-peak.mjs'), layers, BASE, '32'])
      expect(stderr).toBe('')
      return Number(stdout)
    }
    const [one, all] = [await peak('last'), await peak('all')]
    expect(all - one).toBeLessThan(60)
  })
})
