import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { BertLayersError, Encoder } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EncoderInput, EncodeStreamOptions, StreamProgress } from '../index.d.ts'
import { sameBits } from './support/compare.ts'
import { expectFailure, failureOf } from './support/errors.ts'
import { goldenFolder } from './support/paths.ts'
import { count } from './support/verify.ts'

let bert: Encoder
let tiny: Encoder

beforeAll(async () => {
  bert = await Encoder.fromPretrained()
  tiny = await Encoder.fromPretrained(goldenFolder('bert'))
})
afterAll(async () => {
  await bert.dispose()
  await tiny.dispose()
})

/** An input of the tiny model. */
const ids = (length: number, first = 1) => ({ ids: Uint32Array.from({ length }, (_, i) => (first + 7 * i) % 211) })

/** Counts what is asked of it, and whether it was closed. */
class Source<T> {
  asked = 0
  closed = 0
  readonly #make: (index: number) => T
  readonly #length: number

  constructor(length: number, make: (index: number) => T) {
    this.#length = length
    this.#make = make
  }

  *[Symbol.iterator]() {
    try {
      for (let index = 0; index < this.#length; index++) {
        this.asked++
        yield this.#make(index)
      }
    } finally {
      this.closed++
    }
  }

  /** The same, each after a turn of the event loop. */
  async *slowly() {
    for (const item of this) {
      await nextTurn()
      yield item
    }
  }
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of stream) all.push(item)
  return all
}

describe('the results are those of encode and embed, in order', () => {
  test('whatever the lengths, the batches, the window and the source', async () => {
    const inputs = fc.array(fc.tuple(fc.oneof(fc.integer({ min: 1, max: 80 }), fc.constantFrom(1, 80)), fc.nat(210)), {
      maxLength: 60,
    })
    const limits = fc.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 70 }))
    const property = fc.asyncProperty(inputs, limits, fc.boolean(), async (shapes, [batchTokens, window], slow) => {
      const texts = shapes.map(([length, first]) => ids(length, first))
      const source = new Source(texts.length, index => texts[index]!)
      const options = { layers: [0, -1], pooler: true, batchTokens, window }
      const results = await collect(tiny.stream(slow ? source.slowly() : source, options))
      expect(results.map(({ index }) => index)).toEqual([...texts.keys()])
      if (texts.length === 0) return
      const expected = await tiny.encode(texts, { layers: [0, -1], pooler: true })
      for (const [index, result] of results.entries()) {
        expect(result.input).toBe(texts[index])
        expect(result.text.ids).toEqual([...texts[index]!.ids])
        for (const layer of [0, -1]) expect(sameBits(result.get(layer), expected.get(layer, index))).toBe(true)
        expect(sameBits(result.token(-1, 0), expected.token(-1, index, 0))).toBe(true)
        const pooled = expected.poolerOutput!.subarray(index * 48, (index + 1) * 48)
        expect(sameBits(result.poolerOutput!, pooled)).toBe(true)
      }
    })
    await fc.assert(property, { numRuns: count(30, 300) })
  })

  test('vectors', async () => {
    const texts = [
      'a river bank',
      '你好，世界！',
      '',
      'play '.repeat(200),
      {
        text: 'one. two.',
        spans: [
          [0, 4],
          [5, 9],
        ] as [number, number][],
      },
    ]
    const expected = await bert.embed(texts)
    const results = await collect(bert.stream(texts, { embed: true, batchTokens: 10 }))
    for (const [index, { vector, vectors, input }] of results.slice(0, 4).entries()) {
      expect(input).toBe(texts[index])
      expect(sameBits(vector, expected.get(index))).toBe(true)
      expect(vector.buffer.byteLength).toBe(vector.byteLength)
      expect(vectors.pooling).toEqual(expected.pooling)
      expect(vectors.texts[0]!.ids).toEqual(expected.texts[index]!.ids)
    }
    for (const span of [0, 1]) expect(sameBits(results[4]!.vectors.get(0, span), expected.get(4, span))).toBe(true)
  })

  test('vectors of each layer, as int8', async () => {
    const options = { layers: [0, 3, -1], combine: 'none', precision: 'int8' } as const
    const texts = ['a', 'a river bank', 'b c']
    const expected = await bert.embed(texts, options)
    const results = await collect(bert.stream(texts, { embed: options }))
    for (const [index, { vectors }] of results.entries()) {
      for (const layer of options.layers) {
        const [own, all] = [vectors.layer(layer), expected.layer(layer)]
        expect([...own.get(0)]).toEqual([...all.get(index)])
        expect(own.scales![0]).toBe(all.scales![index])
      }
    }
  })

  test('lines of a Node stream, as readline gives them', async () => {
    const lines = Array.from({ length: 300 }, (_, line) => `line ${line} of the river`)
    const source = createInterface({ input: Readable.from([lines.join('\n')]) })
    const results = await collect(bert.stream(source, { layers: 0, window: 50 }))
    expect(results.map(({ input }) => input)).toEqual(lines)
  })

  test('an empty source gives nothing, and one input may be larger than a batch', async () => {
    expect(await collect(bert.stream([]))).toEqual([])
    const [only] = await collect(bert.stream(['word '.repeat(500)], { batchTokens: 1, layers: -1 }))
    expect(only!.text.ids).toHaveLength(502)
  })

  test('a result that is kept keeps only itself', async () => {
    const [result] = await collect(tiny.stream([ids(5), ids(6)], { layers: [1, 2] }))
    expect(result!.get(1).buffer.byteLength).toBe(5 * 48 * 4)
    expect(result!.token(1, 0).buffer.byteLength).toBe(48 * 4)
    expect(result!.layers).toEqual([1, 2])
    expect(result!.hiddenSize).toBe(48)
  })
})

describe('back-pressure', () => {
  test('a consumer that stops asking stops the reading', async () => {
    const source = new Source(10_000, index => ids(1 + (index % 80)))
    const stream = tiny.stream(source, { layers: 0, window: 20, batchTokens: 100 })
    for (let taken = 1; taken <= 30; taken++) {
      await stream.next()
      await sleep(2)
      expect(source.asked).toBeLessThanOrEqual(taken + 20)
    }
    await stream.return()
    expect(source.closed).toBe(1)
  })

  test('long inputs stop it sooner than the window: what is held has a bound in tokens', async () => {
    const source = new Source(10_000, () => ids(80))
    const stream = tiny.stream(source, { layers: 0, batchTokens: 160 })
    await stream.next()
    await sleep(50)
    expect(source.asked).toBeLessThanOrEqual(1 + (4 * 160) / 80)
    await stream.return()
  })

  test('nothing is read before the first result is asked for', async () => {
    const source = new Source(3, () => ids(3))
    const stream = tiny.stream(source)
    await nextTurn()
    expect(source.asked).toBe(0)
    await stream.return()
  })

  test('a source that pauses does not hold back what it has given', async () => {
    const done: number[] = []
    async function* source() {
      yield ids(3)
      yield ids(4)
      await until(() => done.length === 2)
      yield ids(5)
    }
    for await (const { index } of tiny.stream(source(), { layers: 0 })) done.push(index)
    expect(done).toEqual([0, 1, 2])
  })
})

/** Waits until something holds; a test's own time limit says when it never does. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(1)
}

describe('ending early', () => {
  test('break closes the source', async () => {
    const source = new Source(1000, () => ids(5))
    for await (const { index } of tiny.stream(source, { layers: 0, window: 10 })) if (index === 3) break
    expect(source.closed).toBe(1)
  })

  test('a throw in the loop closes the source and is what the caller sees', async () => {
    const source = new Source(1000, () => ids(5))
    const looping = async () => {
      for await (const { index } of tiny.stream(source.slowly(), { layers: 0, window: 10 })) {
        if (index === 3) throw new Error('enough')
      }
    }
    expect(await failureOf(looping)).toEqual(new Error('enough'))
    await until(() => source.closed === 1) // it was being asked for its next input
  })

  test.each(['before it begins', 'while it waits for the source', 'between results'])('abort %s', async when => {
    const controller = new AbortController()
    const source = new Source(1000, () => ids(5))
    if (when === 'before it begins') controller.abort('stop')
    const iterate = async () => {
      async function* stuck() {
        yield* source
        await new Promise(() => {})
      }
      const given = when.startsWith('while') ? stuck() : source
      for await (const { index } of tiny.stream(given, { layers: 0, signal: controller.signal, window: 2000 })) {
        if (when.startsWith('while') && index === 999) setTimeout(() => controller.abort('stop'), 5)
        if (when.startsWith('between') && index === 7) controller.abort('stop')
        if (when.startsWith('between')) expect(index).toBeLessThanOrEqual(7)
      }
    }
    expect(await failureOf(iterate)).toBe('stop')
    if (when.startsWith('between')) expect(source.closed).toBe(1)
    if (when.startsWith('before')) expect(source.asked).toBe(0)
  })

  test('an abort ends what is being computed', async () => {
    const controller = new AbortController()
    const much = Array.from({ length: 400 }, () => ({ ids: new Uint32Array(512).fill(2000) }))
    const iterating = failureOf(() =>
      collect(bert.stream(much, { signal: controller.signal, batchTokens: 1e6, layers: -1 })),
    )
    await sleep(100)
    controller.abort('stop')
    expect(await iterating).toBe('stop')
    await bert.encode('after')
  })
})

describe('an input that cannot be encoded', () => {
  test.each([
    ['of the wrong kind', 7 as unknown as EncoderInput, 'ERR_INVALID_INPUT'],
    ['of ids that the model does not have', { ids: [1, 999] }, 'ERR_INVALID_INPUT'],
    ['too long', ids(81), 'ERR_TOO_MANY_TOKENS'],
  ] as const)('%s ends the stream after all before it, and the error names it', async (_, bad, code) => {
    for (const at of [0, 1, 17, 39]) {
      const source = new Source(40, index => (index === at ? bad : ids(1 + ((index * 31) % 80))))
      const seen: number[] = []
      const error = await failureOf(async () => {
        for await (const { index } of tiny.stream(source, { layers: 0, batchTokens: 300 })) seen.push(index)
      })
      expect(error).toBeInstanceOf(BertLayersError)
      const { code: actual, index, message } = error as BertLayersError
      expect([actual, index]).toEqual([code, at])
      expect(message).toMatch(new RegExp(`^input ${at}\\b`))
      expect(seen).toEqual(Array.from({ length: at }, (_, index) => index))
    }
  })

  test('the first of several is the one', async () => {
    const source = new Source(40, index => (index % 10 === 9 ? ids(90 - index) : ids(3)))
    expect(((await failureOf(() => collect(tiny.stream(source)))) as BertLayersError).index).toBe(9)
  })

  test('an error of the source comes after what it gave before, as it is', async () => {
    const failure = new Error('the database is gone')
    const seen: number[] = []
    async function* source() {
      yield ids(3)
      await nextTurn()
      yield ids(4)
      throw failure
    }
    const iterate = async () => {
      for await (const { index } of tiny.stream(source())) seen.push(index)
    }
    expect(await failureOf(iterate)).toBe(failure)
    expect(seen).toEqual([0, 1])
  })
})

test('progress counts inputs and tokens', async () => {
  const reports: StreamProgress[] = []
  const texts = Array.from({ length: 50 }, (_, index) => ids(1 + index))
  const progressCallback = (progress: StreamProgress) => reports.push(progress)
  await collect(tiny.stream(texts, { layers: 0, batchTokens: 200, progressCallback }))
  expect(reports.length).toBeGreaterThan(2)
  expect(reports.at(-1)).toMatchObject({ read: 50, done: 50, tokens: (50 * 51) / 2 })
  for (const [before, after] of reports.slice(1).map((report, i) => [reports[i]!, report] as const)) {
    expect(after.done).toBeGreaterThan(before.done)
    expect(after.tokens).toBeGreaterThan(before.tokens)
    expect(after.seconds).toBeGreaterThanOrEqual(before.seconds)
  }
  const failing = () => {
    throw new Error('of the callback')
  }
  expect(await failureOf(() => collect(tiny.stream(texts, { progressCallback: failing })))).toEqual(
    new Error('of the callback'),
  )
})

describe('wrong arguments are refused at once', () => {
  const wrong: [string, unknown, unknown, RegExp][] = [
    ['a string as the source', 'a text', undefined, /source.*"a text"/],
    ['a number as the source', 7, undefined, /source.*7/],
    ['one input as the source', { text: 'a' }, undefined, /source.*Object/],
    ['no source', undefined, undefined, /source.*undefined/],
    ['an option that does not exist', [], { batchToken: 7 }, /batchToken.*batchTokens/],
    ['a batch of nothing', [], { batchTokens: 0 }, /batchTokens.*0/],
    ['a window that is no number', [], { window: 'large' }, /window.*"large"/],
    ['a callback that is no function', [], { progressCallback: true }, /progressCallback.*true/],
    ['layers that are no numbers', [], { layers: 'last' }, /layers/],
    ['an option of encode beside embed', [], { embed: true, layers: 3 }, /layers.*embed/],
    ['an option of embed that does not exist', [], { embed: { pooling: 'mean' } }, /pooling.*pool/],
    ['a signal in embed', [], { embed: { signal: AbortSignal.abort() } }, /signal.*beside/],
  ]
  test.each(wrong)('%s', async (_, source, options, pattern) => {
    const stream = (...args: unknown[]) => (tiny.stream as (...args: unknown[]) => unknown).apply(tiny, args)
    await expectFailure(() => stream(source, options), 'ERR_INVALID_INPUT', pattern)
  })

  test('an encoder that was disposed', async () => {
    const other = await Encoder.fromPretrained(goldenFolder('bert'))
    const stream = other.stream([ids(3), ids(4)])
    await other.dispose()
    await expectFailure(() => collect(stream), 'ERR_DISPOSED')
    await expectFailure(() => other.stream([ids(3)]), 'ERR_DISPOSED')
  })
})

test('what the encoder knows is checked at once', async () => {
  for (const options of [{ layers: 99 }, { layers: [0, -8] }, { embed: { layers: 7 } }] as EncodeStreamOptions[]) {
    await expectFailure(() => bert.stream(['a'], options), 'ERR_INVALID_INPUT', /layer -?\d+ does not exist/)
  }
  const error = await failureOf(() => bert.stream(['a'], { singal: 1 } as EncodeStreamOptions))
  expect((error as Error).message.match(/\bsignal\b/g)).toHaveLength(2) // what was meant, and once among all
})
