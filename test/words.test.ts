import { Encoder } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { maxDifference, sameBits } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { temporaryFolder } from './support/paths.ts'
import { copyTinyModel, writeTokenizer } from './support/tiny-model.ts'
import { runs } from './support/verify.ts'

let bert: Encoder

beforeAll(async () => {
  bert = await Encoder.fromPretrained()
})
afterAll(() => bert.dispose())

const POOLS = ['first', 'last', 'mean', 'max'] as const

/** A word's row, made plainly of its tokens'. */
function reducedWord(rows: Float32Array[], pool: (typeof POOLS)[number]): number[] {
  if (pool === 'first') return [...rows[0]!]
  if (pool === 'last') return [...rows.at(-1)!]
  return Array.from(rows[0]!, (_, at) => {
    const values = rows.map(row => row[at]!)
    return pool === 'max' ? Math.max(...values) : values.reduce((a, b) => a + b) / values.length
  })
}

const text = fc
  .array(
    fc.constantFrom(
      'unbelievably',
      'Embeddings',
      'a',
      ',',
      '  ',
      '你好',
      '世',
      '😀',
      'naïve',
      "don't",
      '\u0301',
      '3.14',
    ),
  )
  .map(parts => parts.join(' '))

describe('words of a text', () => {
  test('are reductions of their tokens, which they tile', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(...POOLS),
        async (texts, pool) => {
          const [words, tokens] = await Promise.all([
            bert.encode(texts, { words: pool, layers: [-1, 0] }),
            bert.encode(texts, { layers: [-1, 0] }),
          ])
          for (const [index, { words: found, ids, offsets, wordIds }] of words.texts.entries()) {
            expect(found!.flatMap(({ tokens: [start, end] }) => wordIds.slice(start, end))).toEqual(
              wordIds.filter(word => word !== null),
            )
            expect(words.get(-1, index).length).toBe(found!.length * 384)
            let end = 1
            for (const [at, word] of found!.entries()) {
              expect(word.tokens[0]).toBe(end)
              end = word.tokens[1]
              expect(word.wordId).toBe(at)
              expect(word.text).toBe(texts[index]!.slice(...word.offsets))
              expect(word.offsets).toEqual([offsets[word.tokens[0]]![0], offsets[end - 1]![1]])
              for (const layer of [-1, 0]) {
                const rows = []
                for (let token = word.tokens[0]; token < end; token++) rows.push(tokens.token(layer, index, token))
                expect(maxDifference(words.token(layer, index, at), reducedWord(rows, pool))).toBeLessThanOrEqual(1e-5)
              }
            }
            expect(end).toBe(ids.length - 1)
          }
        },
      ),
      runs(20),
    )
  })

  test('of a pair are counted in each text', async () => {
    const states = await bert.encode({ text: 'unbelievably long', pair: 'river bank' }, { words: 'first', layers: 0 })
    expect(states.texts[0]!.words!.map(({ text, wordId, sequenceId }) => [text, wordId, sequenceId])).toEqual([
      ['unbelievably', 0, 0],
      ['long', 1, 0],
      ['river', 0, 1],
      ['bank', 1, 1],
    ])
  })

  test('of nothing are none', async () => {
    const states = await bert.encode(['', 'a b'], { words: 'mean', layers: -1 })
    expect(states.texts.map(({ words }) => words!.length)).toEqual([0, 2])
    expect(states.get(-1, 0).length).toBe(0)
    expect(states.padded(-1).shape).toEqual([2, 2, 384])
    await expectFailure(() => states.token(-1, 0, 0), 'ERR_INVALID_INPUT', /text 0 has no words/)
    await expectFailure(() => states.token(-1, 1, 2), 'ERR_INVALID_INPUT', /words 0 to 1/)
    const nothing = await bert.encode('', { words: 'mean', layers: -1 })
    expect(nothing.data.length).toBe(0)
  })

  test('of ids nobody knows', async () => {
    await expectFailure(
      () => bert.encode(['a', { ids: [101, 102] }], { words: 'first' }),
      'ERR_INVALID_INPUT',
      /text 1.*ids/,
    )
  })

  test('are there only when they are the rows', async () => {
    expect((await bert.encode('a b')).texts[0]!.words).toBeUndefined()
  })
})

describe('words that are given', () => {
  test('have a row each, zeros where they have no token', async () => {
    const given = ['', 'EU', 'rejects', '\u200b', 'German', 'unbelievableness', '.', '']
    const states = await bert.encode([{ words: given }, 'a'], { words: 'max', layers: [0, -1] })
    const { words, wordIds } = states.texts[0]!
    expect(words!.map(({ text }) => text)).toEqual(given)
    expect(words!.map(({ wordId }) => wordId)).toEqual([...given.keys()])
    expect(words!.map(({ offsets }) => offsets)).toEqual(given.map(word => [0, word.length]))
    const tokens = await bert.encode({ words: given }, { layers: [0, -1] })
    for (const [
      at,
      {
        tokens: [start, end],
      },
    ] of words!.entries()) {
      expect(wordIds.flatMap((word, token) => (word === at ? [token] : []))).toEqual(
        Array.from({ length: end - start }, (_, i) => start + i),
      )
      const row = states.token(-1, 0, at)
      if (start === end) expect(row.every(x => x === 0)).toBe(true)
      else {
        const rows = Array.from({ length: end - start }, (_, i) => tokens.token(-1, 0, start + i))
        expect(maxDifference(row, reducedWord(rows, 'max'))).toBeLessThanOrEqual(1e-5)
      }
    }
    expect(words!.filter(({ tokens: [start, end] }) => start === end).map(({ wordId }) => wordId)).toEqual([0, 3, 7])
  })
})

describe('words of a long text', () => {
  async function tiny(): Promise<Encoder> {
    const folder = copyTinyModel(temporaryFolder())
    writeTokenizer(folder)
    return Encoder.fromPretrained(folder)
  }
  const long = Array.from({ length: 90 }, (_, i) => ['playing', 'unable', 'the', 'abcd', 'bank'][(i * i) % 5]!)

  test.each(POOLS.flatMap(pool => (['center', 'mean'] as const).map(merge => [pool, merge] as const)))(
    'are reductions of the states that windows give: %s, %s',
    async (pool, merge) => {
      await using bert = await tiny()
      const overflow = { window: { merge, stride: 17 } }
      for (const input of [{ words: long }, long.join(' ')]) {
        const [words, tokens] = [
          await bert.encode(['the bank', input], { words: pool, overflow, layers: [2, 4] }),
          await bert.encode(['the bank', input], { overflow, layers: [2, 4] }),
        ]
        expect(words.texts[1]!.words!.map(({ text }) => text)).toEqual(long)
        for (const [
          at,
          {
            tokens: [start, end],
          },
        ] of words.texts[1]!.words!.entries()) {
          const rows = Array.from({ length: end - start }, (_, i) => tokens.token(4, 1, start + i))
          expect(maxDifference(words.token(4, 1, at), reducedWord(rows, pool))).toBeLessThanOrEqual(1e-5)
        }
        const alone = await bert.encode('the bank', { words: pool, layers: [2, 4] })
        expect(sameBits(words.get(4, 0), alone.get(4, 0))).toBe(true)
      }
    },
  )

  test('are never dropped silently', async () => {
    await using bert = await tiny()
    await expectFailure(() => bert.encode({ words: long }, { words: 'first' }), 'ERR_TOO_MANY_TOKENS', /overflow/)
    const cut = await bert.encode({ words: long }, { words: 'first', overflow: { truncate: 'tail' }, layers: 0 })
    const { words, truncated } = cut.texts[0]!
    expect(truncated).toBeGreaterThan(0)
    // Those that are left say which they were.
    for (const { text, wordId } of words!) expect(text).toBe(long[wordId])
    expect(words!.at(-1)!.wordId).toBe(long.length - 1)
    expect(words!.length).toBeLessThan(long.length)
  })
})
