import { cosineSimilarity, dot, euclideanDistance } from 'bert-layers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectFailure } from './support/errors.ts'
import { runs } from './support/verify.ts'

const FUNCTIONS = { dot, cosineSimilarity, euclideanDistance }

describe('two vectors', () => {
  test('numbers worked out by hand', () => {
    expect(dot([1, 2, 3], [4, -5, 6])).toBe(12)
    expect(euclideanDistance([1, 2], [4, 6])).toBe(5)
    expect(cosineSimilarity([3, 4], [4, 3])).toBeCloseTo(0.96, 15)
    expect(cosineSimilarity(Float32Array.of(1, 0), [0, 2])).toBe(0)
    expect(cosineSimilarity(new Int8Array([1, 1]), new Float64Array([-2, -2]))).toBe(-1)
  })

  test('a zero vector has the cosine 0 with every other', () => {
    expect(cosineSimilarity([0, 0], [1, 2])).toBe(0)
    expect(cosineSimilarity([0, 0], [0, 0])).toBe(0)
  })

  test('the cosine of vectors as long or short as there are', () => {
    for (const [a, b] of [1e200, 1e-200, 1, 5e-324, 1e308].flatMap(a => [1e200, 1e-200, 1].map(b => [a, b] as const))) {
      expect(cosineSimilarity([a, a], [b, b]), `${a}, ${b}`).toBeCloseTo(1, 12)
      expect(cosineSimilarity([a, a], [b, 0])).toBeCloseTo(Math.SQRT1_2, 12)
      expect(cosineSimilarity([a, 0], [0, b])).toBe(0)
      expect(cosineSimilarity([a], [0])).toBe(0)
    }
  })

  test('NaN gives NaN', () => {
    for (const f of Object.values(FUNCTIONS)) expect(f([1, Number.NaN], [1, 2])).toBeNaN()
  })

  test('what must hold for any vectors', () => {
    const numbers = fc.double({ min: -1e6, max: 1e6, noNaN: true })
    const pairs = fc
      .integer({ min: 1, max: 50 })
      .chain(length =>
        fc.tuple(...[0, 1].map(() => fc.array(numbers, { minLength: length, maxLength: length }))),
      ) as fc.Arbitrary<[number[], number[]]>
    fc.assert(
      fc.property(pairs, ([a, b]) => {
        const cosine = cosineSimilarity(a, b)
        expect(Math.abs(cosine)).toBeLessThanOrEqual(1)
        expect(cosineSimilarity(b, a)).toBe(cosine)
        expect(dot(b, a)).toBe(dot(a, b))
        expect(euclideanDistance(a, a)).toBe(0)
        // ‖a − b‖² = a·a + b·b − 2 a·b
        const squares = dot(a, a) + dot(b, b)
        expect(Math.abs(euclideanDistance(a, b) ** 2 - (squares - 2 * dot(a, b)))).toBeLessThanOrEqual(1e-12 * squares)
      }),
      runs(200),
    )
  })

  test('what is no pair of vectors is refused', async () => {
    for (const f of Object.values(FUNCTIONS) as ((...args: unknown[]) => number)[]) {
      await expectFailure(() => f([1, 2], [1, 2, 3]), 'ERR_INVALID_INPUT', /2 and 3/)
      await expectFailure(() => f([], []), 'ERR_INVALID_INPUT', /empty/)
      await expectFailure(() => f([1], ['1']), 'ERR_INVALID_INPUT', /second vector.*position 0.*"1"/)
      await expectFailure(() => f([1], [1n]), 'ERR_INVALID_INPUT', /Number\(\)/)
      for (const wrong of [undefined, null, 1, '1', {}, BigInt64Array.of(1n)]) {
        await expectFailure(() => f(wrong, [1]), 'ERR_INVALID_INPUT', /first vector/)
      }
      // What embed packs bits in: 0.5 is 0x3800 there, and would be taken for 14336.
      for (const bits of [Uint16Array.of(0x3800), Uint8Array.of(255)]) {
        await expectFailure(() => f([1], bits), 'ERR_INVALID_INPUT', /second vector.*bits.*'float32' or 'int8'/)
      }
    }
  })
})
