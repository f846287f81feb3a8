import { Encoder } from 'bert-layers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sameBits } from './support/compare.ts'
import { goldenFolder } from './support/paths.ts'
import { runs } from './support/verify.ts'

describe('a text gives the same numbers, bit by bit', () => {
  const ids = fc.array(fc.integer({ min: 0, max: 210 }), { minLength: 1, maxLength: 80 }).map(ids => ({ ids }))
  const layers = fc.uniqueArray(fc.integer({ min: 0, max: 4 }), { minLength: 1 })
  const threads = fc.integer({ min: 1, max: 4 })

  test.each(['float32', 'bfloat16', 'int8'] as const)(
    'in %s alone and in any batch, for any layers and threads',
    async dtype => {
      await using alone = await Encoder.fromPretrained(goldenFolder('bert'), { dtype, threads: 1 })
      await fc.assert(
        fc.asyncProperty(
          fc.array(ids, { minLength: 1, maxLength: 20 }),
          layers,
          threads,
          async (batch, kept, threads) => {
            await using bert = await Encoder.fromPretrained(goldenFolder('bert'), { dtype, threads })
            const together = await bert.encode(batch, { layers: kept, pooler: true })
            for (const [text, input] of batch.entries()) {
              const single = await alone.encode(input, { pooler: true })
              for (const layer of kept) expect(sameBits(together.get(layer, text), single.get(layer, 0))).toBe(true)
              expect(sameBits(together.poolerOutput!.subarray(text * 48, (text + 1) * 48), single.poolerOutput!)).toBe(
                true,
              )
            }
          },
        ),
        runs(20),
      )
    },
  )

  test('whether or not other calls run at the same time', async () => {
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    const batches = Array.from({ length: 8 }, (_, call) =>
      Array.from({ length: 5 }, (_, text) => ({
        ids: Array.from({ length: 3 + 7 * text }, (_, t) => (31 * t + call) % 211),
      })),
    )
    const expected = []
    for (const batch of batches) expected.push(await bert.encode(batch))
    const actual = await Promise.all(batches.map(batch => bert.encode(batch)))
    for (const [call, states] of actual.entries()) expect(sameBits(states.data, expected[call]!.data)).toBe(true)
  })

  test('for texts, with the default model', async () => {
    const texts = ['你好，世界！', 'Hello, world!', '', 'He deposited the cheque at the bank. '.repeat(20)]
    await using one = await Encoder.fromPretrained(undefined, { threads: 1 })
    await using two = await Encoder.fromPretrained(undefined, { threads: 2 })
    const together = await two.encode(texts)
    for (const [text, input] of texts.entries()) {
      const single = await one.encode(input, { layers: [-1, 3] })
      for (const layer of single.layers) expect(sameBits(together.get(layer, text), single.get(layer, 0))).toBe(true)
    }
  })

  test('a masked tail changes nothing before it', async () => {
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    const plain = await bert.encode({ ids: [2, 50, 60, 3] })
    const masked = await bert.encode({ ids: [2, 50, 60, 3, 9, 8], attentionMask: [1, 1, 1, 1, 0, 0] })
    for (const layer of plain.layers) {
      expect(sameBits(masked.get(layer, 0).subarray(0, 4 * 48), plain.get(layer, 0))).toBe(true)
    }
    expect(masked.texts[0]?.ids).toEqual([2, 50, 60, 3, 9, 8])
  })
})
