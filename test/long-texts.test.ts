import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EncodeOptions, Encoder, type HiddenStates, type Overflow } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { maxDifference, sameBits } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { reduced, tokensOf } from './support/reduce.ts'
import { copyTinyModel, TINY_VOCABULARY, writeTokenizer } from './support/tiny-model.ts'
import { runs, VERIFY } from './support/verify.ts'

/** The tiny model takes 80 tokens: 78 of content beside [CLS] and [SEP]. */
const ROOM = 78
const STRIDE = 39

let bert: Encoder

const folder = copyTinyModel(mkdtempSync(join(tmpdir(), 'bert-layers-')))

beforeAll(async () => {
  writeTokenizer(folder)
  bert = await Encoder.fromPretrained(folder)
})
afterAll(async () => {
  await bert.dispose()
  rmSync(folder, { recursive: true })
})

/** A text of so many tokens beside the special ones, no two windows of it alike. */
function text(length: number, seed = 1): string {
  const words = TINY_VOCABULARY.slice(5, 13)
  return Array.from({ length }, (_, i) => words[(i * i + 3 * i * seed + (i >> 3)) % words.length]).join(' ')
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, more) => first + more)
}

/** Where windows of a text begin, as documented. */
function windowStarts(length: number, room: number, stride: number): number[] {
  const starts = []
  for (let start = 0; start + room < length; start += stride) starts.push(start)
  return [...starts, Math.max(0, length - room)]
}

/** The states of each window, encoded as texts of their own. */
async function windowsOf(ids: number[], room: number, stride: number, layers: EncodeOptions['layers']) {
  const starts = windowStarts(ids.length - 2, room, stride)
  const inputs = starts.map(start => ({ ids: [ids[0]!, ...ids.slice(1, -1).slice(start, start + room), ids.at(-1)!] }))
  return { starts, windows: await bert.encode(inputs, { layers }) }
}

async function expectCentred(length: number, room: number, stride: number, states: HiddenStates) {
  const { ids } = states.texts[0]!
  expect(ids.length).toBe(length + 2)
  const layer = states.layers[0]!
  const { starts, windows } = await windowsOf(ids, room, stride, layer)
  const middle = (window: number) => starts[window]! + (room - 1) / 2
  for (let token = 0; token < length; token++) {
    let best = 0
    for (const [window] of starts.entries()) {
      if (Math.abs(token - middle(window)) < Math.abs(token - middle(best))) best = window
    }
    const expected = windows.token(layer, best, 1 + token - starts[best]!)
    if (!sameBits(states.token(layer, 0, 1 + token), expected)) {
      expect.fail(`token ${token} of ${length} is not that of window ${best}`)
    }
  }
  expect(sameBits(states.token(layer, 0, 0), windows.token(layer, 0, 0))).toBe(true)
  const last = starts.length - 1
  const end = windows.texts[last]!.ids.length - 1
  expect(sameBits(states.token(layer, 0, length + 1), windows.token(layer, last, end))).toBe(true)
}

describe('windows', () => {
  test('under the limit change nothing, bit by bit', async () => {
    for (const length of [0, 1, 2, ROOM - 1, ROOM]) {
      for (const overflow of ['window', { window: { merge: 'mean', stride: 1 } }] as Overflow[]) {
        const [windows, plain] = [await bert.encode(text(length), { overflow }), await bert.encode(text(length))]
        expect(sameBits(windows.data, plain.data)).toBe(true)
      }
    }
  })

  test('give each token the state of the window that centres it', { timeout: 3_600_000 }, async () => {
    // The first lengths that take a second and a third window, and a long one; every length when there is time.
    const lengths = VERIFY ? range(1, 5000) : [...range(ROOM + 1, 2 * ROOM + 2), 5000]
    for (const length of lengths) {
      await expectCentred(length, ROOM, STRIDE, await bert.encode(text(length), { layers: -1, overflow: 'window' }))
    }
  })

  test('of any size and stride, for any length, lose no token', { timeout: 600_000 }, async () => {
    const size = fc.integer({ min: 3, max: 80 })
    const chosen = size.chain(size =>
      fc.record({ size: fc.constant(size), stride: fc.integer({ min: 1, max: size - 2 }) }),
    )
    const length = fc.integer({ min: 1, max: 5000 })
    await fc.assert(
      fc.asyncProperty(length, chosen, async (long, { size, stride }) => {
        // As many windows as are quick to compute.
        const length = Math.min(long, size + 200 * stride)
        const overflow = { window: { size, stride } }
        const states = await bert.encode(text(length), { layers: 2, overflow })
        expect(states.data.length).toBe((length + 2) * 48)
        await expectCentred(length, size - 2, stride, states)
      }),
      runs(40),
    )
  })

  test("merged by 'mean' are averages", async () => {
    const length = 200
    const states = await bert.encode(text(length), { layers: 3, overflow: { window: { merge: 'mean', stride: 13 } } })
    const { starts, windows } = await windowsOf(states.texts[0]!.ids, ROOM, 13, 3)
    for (let token = -1; token <= length; token++) {
      const special = token < 0 || token === length
      const rows = starts.flatMap((start, window) => {
        if (special) return [windows.token(3, window, token < 0 ? 0 : ROOM + 1)]
        return start <= token && token < start + ROOM ? [windows.token(3, window, 1 + token - start)] : []
      })
      const mean = Array.from(rows[0]!, (_, at) => rows.reduce((sum, row) => sum + row[at]!, 0) / rows.length)
      expect(maxDifference(states.token(3, 0, token + 1), mean)).toBeLessThanOrEqual(1e-5)
    }
  })

  test('do not depend on what shares the call, nor on threads', async () => {
    const texts = [text(300), 'the', text(90, 2), text(500, 5)]
    const options = { layers: [0, -1], overflow: { window: { merge: 'mean', stride: 20 } } } as const
    const together = await bert.encode(texts, options)
    for (const [index, input] of texts.entries()) {
      const alone = await bert.encode(input, options)
      for (const layer of [0, -1]) expect(sameBits(alone.get(layer, 0), together.get(layer, index))).toBe(true)
    }
    const [vectors, single] = [await bert.embed(texts, options), await bert.embed(texts[3]!, options)]
    expect(sameBits(vectors.get(3), single.get(0))).toBe(true)
  })

  test('pool to the reduction of their states, a maximum of averages included', async () => {
    const texts = [text(300), 'the river', text(85, 2)]
    for (const merge of ['center', 'mean'] as const) {
      for (const pool of ['mean', 'max', 'weightedmean'] as const) {
        for (const combine of ['mean', 'max', 'concat', 'none'] as const) {
          const options = { layers: [1, 4], overflow: { window: { merge } }, combine, pool }
          const [vectors, states] = [
            await bert.embed(texts, options),
            await bert.encode(texts, { layers: [1, 4], overflow: { window: { merge } } }),
          ]
          for (const [index] of texts.entries()) {
            for (const [slot, expected] of reduced(states, index, { combine, pool }).entries()) {
              const of = vectors.layers === undefined ? vectors : vectors.layer(vectors.layers[slot]!)
              expect(maxDifference(of.get(index), expected), `${merge} ${pool} ${combine}`).toBeLessThanOrEqual(1e-5)
            }
          }
        }
      }
    }
  })

  test('give spans the mean of their tokens, seen in their windows', async () => {
    const whole = text(1000)
    const spans = [
      [0, whole.length],
      [0, 3],
      [1000, 1100],
      [whole.length - 10, whole.length],
      [400, 2500],
    ] as const
    const vectors = await bert.embed({ text: whole, spans }, { overflow: 'window' })
    const states = await bert.encode(whole, { layers: -1, overflow: 'window' })
    for (const [index, span] of spans.entries()) {
      const [expected] = reduced(states, 0, { combine: 'none', pool: 'mean' }, tokensOf(states.texts[0]!, span))
      expect(maxDifference(vectors.get(0, index), expected!)).toBeLessThanOrEqual(1e-5)
    }
  })

  test('do not let one of them speak for the text', async () => {
    const long = text(200)
    for (const pool of ['cls', 'last', 'pooler'] as const) {
      await expectFailure(() => bert.embed(long, { pool, overflow: 'window' }), 'ERR_INVALID_INPUT', /windows.*'mean'/)
      const averaged = await bert.embed(long, { pool, overflow: { window: { merge: 'mean' } } })
      const { windows } = await windowsOf(averaged.texts[0]!.ids, ROOM, STRIDE, -1)
      const rows = windows.texts.map((_, window) => {
        if (pool === 'pooler') return undefined
        return windows.token(-1, window, pool === 'cls' ? 0 : ROOM + 1)
      })
      if (pool === 'pooler') continue // Rust's tests compare it with each window's
      const mean = Array.from(rows[0]!, (_, at) => rows.reduce((sum, row) => sum + row![at]!, 0) / rows.length)
      expect(maxDifference(averaged.get(0), mean)).toBeLessThanOrEqual(1e-5)
    }
    await expectFailure(() => bert.encode(long, { pooler: true, overflow: 'window' }), 'ERR_INVALID_INPUT', /pooler/)
  })
})

describe('truncating', () => {
  test.each([
    ['truncate', (i: number) => i < ROOM],
    [{ truncate: 'head' }, (i: number) => i < ROOM],
    [{ truncate: 'tail' }, (i: number) => i >= 200 - ROOM],
    [{ truncate: 'head+tail', head: 10 }, (i: number) => i < 10 || i >= 200 - ROOM + 10],
    [{ truncate: 'head+tail' }, (i: number) => i < 20 || i >= 200 - ROOM + 20],
  ] as [Overflow, (i: number) => boolean][])('%j', async (overflow, kept) => {
    const [whole] = await bert.tokenize(text(200))
    const content = whole!.ids.slice(1, -1).filter((_, i) => kept(i))
    const states = await bert.encode(['the', text(200)], { overflow })
    expect(states.texts.map(({ truncated }) => truncated)).toEqual([0, 200 - ROOM])
    expect(states.texts[1]!.ids).toEqual([whole!.ids[0], ...content, whole!.ids.at(-1)])
    const expected = await bert.encode({ ids: states.texts[1]!.ids })
    for (const layer of states.layers) expect(sameBits(states.get(layer, 1), expected.get(layer, 0))).toBe(true)
    const offsets = whole!.offsets.slice(1, -1).filter((_, i) => kept(i))
    expect(states.texts[1]!.offsets.slice(1, -1)).toEqual(offsets)
  })

  test('makes spans that are gone an error', async () => {
    const spans = [
      [0, 3],
      [900, 903],
    ] as const
    await expectFailure(
      () => bert.embed({ text: text(200), spans }, { overflow: 'truncate' }),
      'ERR_INVALID_INPUT',
      /span 1.*beyond what was kept/,
    )
  })
})

describe('sampling', () => {
  test('encodes the windows that it says', async () => {
    const [whole] = await bert.tokenize(text(1000))
    const drawn = fc.record({ windows: fc.integer({ min: 1, max: 6 }), seed: fc.maxSafeNat() })
    await fc.assert(
      fc.asyncProperty(drawn, async sample => {
        const states = await bert.encode(['the', text(1000)], { layers: -1, overflow: { sample } })
        expect(states.texts[0]!.sampled).toBeUndefined()
        const { sampled, ids } = states.texts[1]!
        expect(sampled!.length).toBe(sample.windows)
        const content = sampled!.flatMap(([start, end]) => whole!.ids.slice(start, end))
        expect(ids).toEqual([whole!.ids[0], ...content, whole!.ids.at(-1)])
        const windows = await bert.encode(
          sampled!.map(([start, end]) => ({ ids: [ids[0]!, ...whole!.ids.slice(start, end), ids.at(-1)!] })),
          { layers: -1 },
        )
        for (const [window] of sampled!.entries()) {
          const rows = states.get(-1, 1).subarray((1 + window * ROOM) * 48, (1 + (window + 1) * ROOM) * 48)
          expect(sameBits(rows, windows.get(-1, window).subarray(48, (1 + ROOM) * 48))).toBe(true)
        }
        const again = await bert.encode(text(1000), { layers: -1, overflow: { sample } })
        expect(again.texts[0]!.sampled).toEqual(sampled)
      }),
      runs(10),
    )
  })

  test('with other seeds draws other windows', async () => {
    const draws = new Set<string>()
    for (let seed = 0; seed < 20; seed++) {
      const states = await bert.encode(text(1000), { layers: 0, overflow: { sample: { windows: 1, seed } } })
      draws.add(String(states.texts[0]!.sampled))
    }
    expect(draws.size).toBeGreaterThan(15)
  })
})

test('a pair is never cut', async () => {
  const pair = { text: text(60), pair: text(60) }
  for (const overflow of ['error', 'truncate', 'window', { sample: { windows: 1, seed: 1 } }] as Overflow[]) {
    await expectFailure(() => bert.encode(pair, { overflow }), 'ERR_TOO_MANY_TOKENS', /pair/)
  }
})

test.each([
  [{ window: { stride: 600 } }, /stride of 600/],
  [{ window: { size: 3, stride: 2 } }, /stride of 2/],
  [{ window: { size: 2 } }, /window's size of 2/],
  [{ window: { size: 81 } }, /size.*81/],
  [{ truncate: 'head+tail', head: 1000 }, /head of 1000/],
] as [Overflow, RegExp][])('%j cannot work, for a short text neither', async (overflow, message) => {
  for (const length of [1, 200]) {
    await expectFailure(() => bert.encode(text(length), { overflow }), 'ERR_INVALID_INPUT', message)
    await expectFailure(() => bert.embed(text(length), { overflow }), 'ERR_INVALID_INPUT', message)
  }
})

test('a field that does not exist', async () => {
  const overflow = (value: object) => () => bert.encode('the', { overflow: value as Overflow })
  await expectFailure(
    overflow({ window: { overlap: 3 } }),
    'ERR_INVALID_INPUT',
    /window: the field 'overlap' does not exist/,
  )
  await expectFailure(
    overflow({ sample: { window: 3 } }),
    'ERR_INVALID_INPUT',
    /sample: the field 'window' does not exist/,
  )
})
