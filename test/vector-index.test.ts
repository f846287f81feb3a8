import { cosineSimilarity, dot, euclideanDistance, VectorIndex } from 'bert-layers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Metric } from '../index.d.ts'
import { expectFailure, failureOf } from './support/errors.ts'
import { seededRandom } from './support/random.ts'
import { runs } from './support/verify.ts'

const METRICS = ['cosine', 'dot', 'euclidean'] as const
const PRECISIONS = ['float32', 'int8', 'binary'] as const

function noise(length: number, seed: number): Float32Array {
  const random = seededRandom(seed)
  return Float32Array.from({ length }, () => random() + random() - 1)
}

/** Where squares leave float32, the cosine is defined otherwise: it has a test of its own. */
function withoutTiny(numbers: Float32Array): Float32Array {
  return numbers.map(x => (Math.abs(x) < 1e-15 ? 0 : x))
}

/** What everybody would write. */
function plain(vectors: Float32Array, dim: number, metric: Metric, query: Float32Array, k: number) {
  const similarity = { cosine: cosineSimilarity, dot, euclidean: euclideanDistance }[metric]
  const sign = metric === 'euclidean' ? -1 : 1
  const all = Array.from({ length: vectors.length / dim }, (_, index) => {
    const vector = vectors.subarray(index * dim, (index + 1) * dim)
    return { index, score: Math.fround(similarity(vector, query)) }
  })
  return all.sort((a, b) => sign * (b.score - a.score) || a.index - b.index).slice(0, k)
}

describe('a search', () => {
  test('finds what a plain loop finds, for any vectors', async () => {
    const numbers = fc.float({ min: -8, max: 8, noNaN: true, noDefaultInfinity: true })
    const cases = fc
      .record({
        dim: fc.integer({ min: 1, max: 40 }),
        size: fc.integer({ min: 1, max: 60 }),
        k: fc.integer({ min: 1, max: 70 }),
      })
      .chain(({ dim, size, k }) =>
        fc.record({
          dim: fc.constant(dim),
          k: fc.constant(k),
          vectors: fc.float32Array({ minLength: size * dim, maxLength: size * dim, min: -8, max: 8, noNaN: true }),
          query: fc.array(numbers, { minLength: dim, maxLength: dim }),
          metric: fc.constantFrom(...METRICS),
        }),
      )
    await fc.assert(
      fc.asyncProperty(cases, async ({ dim, k, vectors: drawn, query: drawnQuery, metric }) => {
        const vectors = withoutTiny(drawn)
        const query = withoutTiny(Float32Array.from(drawnQuery))
        await using index = VectorIndex.from(vectors, { dim, metric })
        const found = await index.search(query, k)
        expect([found.k, found.queries]).toEqual([Math.min(k, index.size), 1])
        const expected = plain(vectors, dim, metric, query, k)
        for (const [at, { index: found_, score }] of found.get(0).entries()) {
          const { index: wanted, score: best } = expected[at]!
          expect(Math.abs(score - best)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(best)))
          // Another one may stand here only if it is as near, as far as float32 can tell.
          if (found_ !== wanted) expect(Math.abs(score - best)).toBeLessThanOrEqual(1e-7 * Math.max(1, Math.abs(best)))
        }
      }),
      runs(60),
    )
  })

  test('of many queries over many vectors', async () => {
    const [dim, size, count, k] = [33, 20_000, 70, 7]
    const vectors = noise(size * dim, 1)
    const queries = noise(count * dim, 2)
    for (const metric of METRICS) {
      await using index = VectorIndex.from(vectors, { dim, metric })
      const found = await index.search({ data: queries, dim }, k)
      expect(found.indices.length).toBe(count * k)
      for (let q = 0; q < count; q += 23) {
        const expected = plain(vectors, dim, metric, queries.subarray(q * dim, (q + 1) * dim), k)
        expect(found.get(q).map(({ index }) => index)).toEqual(expected.map(({ index }) => index))
        for (const [at, { score }] of found.get(q).entries()) expect(score).toBeCloseTo(expected[at]!.score, 5)
      }
    }
  })

  test('gives the same on any number of threads and whatever queries share the call', async () => {
    const dim = 20
    const vectors = noise(30_000 * dim, 3)
    const queries = noise(9 * dim, 4)
    for (const precision of PRECISIONS) {
      await using one = VectorIndex.from(vectors, { dim, precision, threads: 1 })
      await using three = VectorIndex.from(vectors, { dim, precision, threads: 3 })
      const expected = await one.search(queries, 5)
      const found = await three.search(queries, 5)
      expect(found).toEqual(expected)
      const alone = await three.search(queries.subarray(4 * dim, 5 * dim), 5)
      expect(alone.get(0)).toEqual(expected.get(4))
    }
  })

  test('counts a vector as zero, cosine 0, only where float32 ends', async () => {
    await using index = VectorIndex.from([
      [0, 0],
      [1e-39, 0],
      [1e-37, 1e-37],
      [-1, 0],
    ])
    expect((await index.search([[1e-37, 0]], 4)).get(0)).toEqual([
      { index: 2, score: Math.fround(Math.SQRT1_2) },
      { index: 0, score: 0 },
      { index: 1, score: 0 },
      { index: 3, score: -1 },
    ])
  })

  test('gives the lower index of equal scores', async () => {
    const vectors = Array.from({ length: 500 }, () => [1, 2, 3])
    for (const metric of METRICS) {
      for (const precision of PRECISIONS) {
        await using index = VectorIndex.from(vectors, { metric, precision })
        const { indices } = await index.search([[3, 1, 2]], 300)
        expect(Array.from(indices)).toEqual(Array.from({ length: 300 }, (_, i) => i))
      }
    }
  })

  test('on small codes scores exactly with the vectors, and by the codes without', async () => {
    const dim = 64
    const vectors = noise(2000 * dim, 5)
    const query = noise(dim, 6)
    const [best] = plain(vectors, dim, 'cosine', query, 1)
    for (const precision of ['int8', 'binary'] as const) {
      await using kept = VectorIndex.from(vectors, { dim, precision })
      await using small = VectorIndex.from(vectors, { dim, precision, rescore: false })
      // With as many candidates as vectors nothing can be missed.
      const found = await kept.search(query, 10, { oversample: 200 })
      expect(found.get(0).map(({ index }) => index)).toEqual(
        plain(vectors, dim, 'cosine', query, 10).map(({ index }) => index),
      )
      expect(found.get(0)[0]!.score).toBeCloseTo(best!.score, 6)
      const estimate = (await small.search(query, 1)).get(0)[0]!.score
      expect(estimate).not.toBe(found.get(0)[0]!.score)
      expect(Math.abs(estimate - best!.score)).toBeLessThan(precision === 'int8' ? 0.02 : 0.4)
      expect(kept.bytes - small.bytes).toBe(2000 * dim * 4)
    }
  })
})

describe('an index', () => {
  test('says what it is, and is no more than documented', async () => {
    await using index = VectorIndex.from(noise(100 * 384, 7), { dim: 384 })
    expect(index).toMatchObject({
      size: 100,
      dim: 384,
      metric: 'cosine',
      precision: 'float32',
      bytes: 100 * (4 * 384 + 4),
    })
    await using bits = VectorIndex.from(noise(96 * 384, 7), { dim: 384, precision: 'binary', rescore: false })
    expect(bits.bytes).toBe(96 * 48)
  })

  test('is a copy, made of vectors in any form', async () => {
    const data = Float32Array.of(1, 0, 0, 2, 3, 3)
    const forms = [
      VectorIndex.from(data, { dim: 2 }),
      VectorIndex.from([1, 0, 0, 2, 3, 3], { dim: 2 }),
      VectorIndex.from({ data, dim: 2 }),
      VectorIndex.from([[1, 0], Float32Array.of(0, 2), new Float64Array([3, 3])]),
    ]
    data.fill(7)
    for (const index of forms) {
      for (const query of [[0, 1], [[0, 1]], Float32Array.of(0, 1), { data: Float32Array.of(0, 1), dim: 2 }]) {
        expect((await index.search(query, 2)).get(0)).toEqual([
          { index: 1, score: 1 },
          { index: 2, score: Math.fround(Math.SQRT1_2) },
        ])
      }
      await index.dispose()
    }
  })

  test('takes searches at a time, and finishes those in flight when it is disposed', async () => {
    const dim = 128
    const vectors = noise(50_000 * dim, 8)
    const index = VectorIndex.from(vectors, { dim })
    const searches = Array.from({ length: 5 }, (_, i) => index.search(vectors.subarray(i * dim, (i + 1) * dim), 1))
    await index.dispose()
    await index.dispose()
    const found = await Promise.all(searches)
    expect(found.map(({ indices }) => indices[0])).toEqual([0, 1, 2, 3, 4])
    await expectFailure(() => index.search(vectors.subarray(0, dim), 1), 'ERR_DISPOSED', /VectorIndex\.from/)
    expect(index.size).toBe(50_000)
  })

  test('rejects with the reason of an abort', async () => {
    const dim = 256
    const vectors = noise(40_000 * dim, 9)
    await using index = VectorIndex.from(vectors, { dim })
    const controller = new AbortController()
    const reason = new Error('enough')
    const searching = failureOf(() => index.search(vectors, 10, { signal: controller.signal }))
    controller.abort(reason)
    expect(await searching).toBe(reason)
    expect(await failureOf(() => index.search([1], 1, { signal: controller.signal }))).toBe(reason)
    expect((await index.search(vectors.subarray(0, dim), 1)).indices[0]).toBe(0)
  })

  test('keeps the event loop free while it searches', async () => {
    const dim = 256
    const vectors = noise(40_000 * dim, 10)
    await using index = VectorIndex.from(vectors, { dim })
    let done = false
    let turns = 0
    const searching = index.search(vectors.subarray(0, 500 * dim), 3).finally(() => {
      done = true
    })
    while (!done) {
      await new Promise(resolve => setImmediate(resolve))
      turns++
    }
    expect((await searching).queries).toBe(500)
    expect(turns).toBeGreaterThan(10)
  })
})

describe('what makes no sense is refused', () => {
  const from =
    (...args: unknown[]) =>
    () =>
      (VectorIndex.from as (...args: unknown[]) => unknown)(...args)

  test('vectors', async () => {
    await expectFailure(from([]), 'ERR_INVALID_INPUT', /empty/)
    await expectFailure(
      from([Uint16Array.of(0x3800, 0)]),
      'ERR_INVALID_INPUT',
      /vectors\[0\].*bits.*'float32' or 'int8'/,
    )
    await expectFailure(from([[]]), 'ERR_INVALID_INPUT', /vectors\[0\] is empty/)
    await expectFailure(from(new Float32Array(0), { dim: 2 }), 'ERR_INVALID_INPUT', /empty/)
    await expectFailure(from(new Float32Array(4)), 'ERR_INVALID_INPUT', /or option dim/)
    await expectFailure(from([1, 2, 3]), 'ERR_INVALID_INPUT', /give vectors, such as \[\[1, 2, 3\]\]/)
    await expectFailure(from({ data: new Float32Array(4), dim: 2, layers: [0, 1] }), 'ERR_INVALID_INPUT', /layer\(-1\)/)
    await expectFailure(from(new Float32Array(5), { dim: 2 }), 'ERR_INVALID_INPUT', /5 numbers.*dimension 2/)
    await expectFailure(from([[1, 2], [1]]), 'ERR_INVALID_INPUT', /vectors\[1\] has 1 numbers, not 2/)
    await expectFailure(from([[1, 2]], { dim: 3 }), 'ERR_INVALID_INPUT', /dimension 2, not 3/)
    await expectFailure(from([[1, '2']]), 'ERR_INVALID_INPUT', /vectors\[0\].*position 1.*"2"/)
    await expectFailure(
      from([
        [1, 2],
        [3, Number.NaN],
      ]),
      'ERR_INVALID_INPUT',
      /vector 1 has NaN at position 1/,
    )
    await expectFailure(from([[1, Infinity]]), 'ERR_INVALID_INPUT', /vector 0 has Infinity at position 1/)
    await expectFailure(from([[1e30, 1]]), 'ERR_INVALID_INPUT', /vector 0 has numbers too large/)
    await expectFailure(from({ data: new Int8Array(4), dim: 2 }), 'ERR_INVALID_INPUT', /Float32Array.*float32/)
    await expectFailure(from({ data: new Float32Array(4), dim: 0 }), 'ERR_INVALID_INPUT', /dim/)
    for (const wrong of [undefined, null, 'a', 3, {}, new Float64Array(4)]) {
      await expectFailure(from(wrong), 'ERR_INVALID_INPUT', /vectors must be/)
    }
  })

  test('options', async () => {
    await expectFailure(from([[1]], { metrics: 'dot' }), 'ERR_INVALID_INPUT', /Did you mean 'metric'/)
    await expectFailure(from([[1]], { metric: 'l2' }), 'ERR_INVALID_INPUT', /cosine, dot, euclidean/)
    await expectFailure(from([[1]], { precision: 'int4' }), 'ERR_INVALID_INPUT', /float32, int8, binary/)
    await expectFailure(from([[1]], { rescore: 1 }), 'ERR_INVALID_INPUT', /rescore/)
    await expectFailure(from([[1]], { dim: 1.5 }), 'ERR_INVALID_INPUT', /dim/)
    await expectFailure(from([[1]], { threads: 0 }), 'ERR_INVALID_INPUT', /threads/)
    const Plain = VectorIndex as unknown as new () => unknown
    await expectFailure(() => new Plain(), 'ERR_INVALID_INPUT', /VectorIndex\.from/)
  })

  test('searches', async () => {
    await using index = VectorIndex.from([
      [1, 2],
      [3, 4],
    ])
    const search = (...args: unknown[]) => (index.search as (...args: unknown[]) => unknown).apply(index, args)
    for (const k of [0, -1, 1.5, Number.NaN, '1', undefined]) {
      await expectFailure(() => search([[1, 2]], k), 'ERR_INVALID_INPUT', /^k/)
    }
    await expectFailure(() => search([[1, 2, 3]], 1), 'ERR_INVALID_INPUT', /dimension 3, not 2/)
    await expectFailure(() => search([1, 2, 3], 1), 'ERR_INVALID_INPUT', /3 numbers/)
    await expectFailure(() => search([], 1), 'ERR_INVALID_INPUT', /empty/)
    await expectFailure(() => search([[1, Number.NaN]], 1), 'ERR_INVALID_INPUT', /query 0 has NaN/)
    await expectFailure(() => search([[1, 2]], 1, { oversample: 0.5 }), 'ERR_INVALID_INPUT', /oversample/)
    await expectFailure(() => search([[1, 2]], 1, { limit: 3 }), 'ERR_INVALID_INPUT', /does not exist/)
    const found = await index.search([1, 2], 9)
    expect(found.k).toBe(2)
    await expectFailure(() => found.get(1), 'ERR_INVALID_INPUT', /queries 0 to 0/)
  })

  test('a result that there is no memory for', async () => {
    const many = new Float32Array(300_000).fill(1)
    await using index = VectorIndex.from(many, { dim: 1 })
    const bytes = many.length ** 2 * 8
    const error = await failureOf(() => index.search(many, many.length))
    expect(error).toMatchObject({ code: 'ERR_OUT_OF_MEMORY' })
    const told = Number(/needs (\d+) bytes/.exec((error as Error).message)?.[1])
    expect(told).toBeGreaterThanOrEqual(bytes)
    expect((error as Error).message).toMatch(/fewer queries.*smaller k/)
  })
})
