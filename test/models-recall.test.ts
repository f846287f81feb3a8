import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Encoder, VectorIndex } from 'bert-layers'
import { beforeAll, describe, expect, test } from 'vitest'
import { STSB } from './support/real-models.ts'

const K = 10

let vectors: Float32Array
let dim: number

/** The sentences of STS-B, each once. */
function sentences(): string[] {
  const found = ['dev', 'test'].flatMap(part => {
    const lines = readFileSync(join(STSB, `stsb-en-${part}.csv`), 'utf8')
      .trim()
      .split('\n')
    return lines.flatMap(line =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)]
        .slice(0, 2)
        .map(m => (m[1] ?? m[2]!).replaceAll('""', '"')),
    )
  })
  return [...new Set(found)]
}

/** Mean of the tokens' last states. */
beforeAll(async () => {
  await using bert = await Encoder.fromPretrained()
  const texts = sentences()
  dim = bert.config.hiddenSize
  vectors = new Float32Array(texts.length * dim)
  for (let first = 0; first < texts.length; first += 256) {
    const states = await bert.encode(texts.slice(first, first + 256), { layers: -1 })
    for (let text = 0; text < states.texts.length; text++) {
      const rows = states.get(-1, text)
      const out = vectors.subarray((first + text) * dim, (first + text + 1) * dim)
      for (let i = 0; i < rows.length; i++) out[i % dim]! += (rows[i]! * dim) / rows.length
    }
  }
})

describe('small codes with rescoring, on MiniLM vectors of the sentences of STS-B', () => {
  for (const metric of ['cosine', 'dot', 'euclidean'] as const) {
    for (const [precision, least] of [
      ['int8', 0.98],
      ['binary', 0.9],
    ] as const) {
      test(`${metric}: recall@10 of ${precision} is at least ${least}`, async () => {
        await using exact = VectorIndex.from({ data: vectors, dim }, { metric })
        await using small = VectorIndex.from({ data: vectors, dim }, { metric, precision })
        const truth = (await exact.search({ data: vectors, dim }, K)).indices
        const found = (await small.search({ data: vectors, dim }, K)).indices
        const hits = found.filter((index, at) => truth.subarray(at - (at % K), at - (at % K) + K).includes(index))
        const recall = hits.length / found.length
        console.log(`${metric}, ${precision}: recall@${K} ${recall.toFixed(4)} of ${exact.size} sentences`)
        expect(recall).toBeGreaterThanOrEqual(least)
      })
    }
  }
})
