import { type EmbedInput, type EmbedOptions, Encoder, type Pool, VectorIndex } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { maxDifference, sameBits } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { program } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { reduced, tokensOf } from './support/reduce.ts'
import { runs } from './support/verify.ts'

let bert: Encoder

beforeAll(async () => {
  bert = await Encoder.fromPretrained()
})
afterAll(() => bert.dispose())

const TEXTS = ['你好，世界！', 'The unbelievably long river bank.', 'Hi', 'a b c d e f g h i j k l m n o p']
const POOLS: readonly Pool[] = ['mean', 'cls', 'max', 'last', 'weightedmean']

describe('equals the reduction of the hidden states', () => {
  const weight = fc.integer({ min: -200, max: 200 }).map(percent => percent / 100)
  const weights = (count: number) => fc.array(weight, { minLength: count, maxLength: count })
  const chosen = fc.uniqueArray(fc.integer({ min: -7, max: -1 }), { minLength: 1 }).chain(layers => {
    const combine: fc.Arbitrary<NonNullable<EmbedOptions['combine']>> = fc.oneof(
      fc.constantFrom('mean', 'sum', 'max', 'concat', 'none'),
      weights(layers.length),
      fc.record({ scalarMix: weights(layers.length), gamma: weight }),
    )
    return fc.record({ layers: fc.constant(layers), combine })
  })
  const texts = fc.array(fc.constantFrom(...TEXTS), { minLength: 1, maxLength: 4 })

  async function expectReduced(
    texts: string[],
    options: {
      layers: number[]
      combine: NonNullable<EmbedOptions['combine']>
      pool: Pool
      includeSpecialTokens: boolean
      normalize: boolean
    },
  ) {
    const [vectors, states] = await Promise.all([
      bert.embed(texts, options),
      bert.encode(texts, { layers: options.layers }),
    ])
    for (const [text] of texts.entries()) {
      for (const [slot, expected] of reduced(states, text, options).entries()) {
        const of = vectors.layers === undefined ? vectors : vectors.layer(vectors.layers[slot]!)
        expect(maxDifference(of.get(text), expected)).toBeLessThanOrEqual(1e-5)
      }
    }
  }

  test('for any layers, combine and pool', async () => {
    const includes = (pool: Pool) => (pool === 'cls' ? fc.constant(true) : fc.boolean())
    const pool = fc
      .constantFrom(...POOLS)
      .chain(pool => fc.record({ pool: fc.constant(pool), includeSpecialTokens: includes(pool) }))
    await fc.assert(
      fc.asyncProperty(texts, chosen, pool, fc.boolean(), (texts, chosen, pool, normalize) =>
        expectReduced(texts, { ...chosen, ...pool, normalize }),
      ),
      runs(60),
    )
  })

  test.each(
    POOLS.flatMap(pool =>
      (['mean', 'sum', 'max', 'concat', 'none', 'weights', 'scalarMix'] as const).map(c => [pool, c] as const),
    ),
  )('pool %s, combine %s', async (pool, kind) => {
    const numbers = [0.5, -1, 2]
    const combine = kind === 'weights' ? numbers : kind === 'scalarMix' ? { scalarMix: numbers } : kind
    await expectReduced(TEXTS, { layers: [3, 0, -1], combine, pool, includeSpecialTokens: true, normalize: false })
  })

  test('a vector is the same, bit by bit, alone and in any batch', async () => {
    const options = { layers: 'all', combine: 'max', pool: 'weightedmean' } as const
    const together = await bert.embed(TEXTS, options)
    for (const [text, input] of TEXTS.entries()) {
      const alone = await bert.embed(input, options)
      expect(sameBits(alone.get(0), together.get(text))).toBe(true)
    }
  })

  test('of one layer is what encode gives', async () => {
    const states = await bert.encode(TEXTS, { layers: 2 })
    const vectors = await bert.embed(TEXTS, { layers: 2, pool: 'cls', normalize: false })
    for (const [text] of TEXTS.entries()) expect(vectors.get(text)).toEqual(states.token(2, text, 0))
  })
})

test('numbers beyond what stores them are refused, not infinite', async () => {
  const options = { layers: [0, 1], combine: [1e38, 1e38] }
  const huge = await bert.embed('a', { ...options, combine: [1e37, 1e37], normalize: true })
  expect(Math.hypot(...huge.get(0))).toBeCloseTo(1, 5)
  for (const normalize of [true, false]) {
    for (const precision of ['float32', 'int8', 'binary'] as const) {
      await expectFailure(
        () => bert.embed('the', { ...options, combine: [3e38, 3e38], normalize, precision }),
        'ERR_INVALID_INPUT',
        /beyond float32.*smaller weights/,
      )
    }
  }
  const half = { layers: [0, 1], combine: [1e6, 1e6], precision: 'float16' } as const
  await expectFailure(
    () => bert.embed('the', { ...half, normalize: false }),
    'ERR_INVALID_INPUT',
    /beyond float16.*65504.*'float32'/,
  )
  await bert.embed('the', { ...half, normalize: true })
})

test('the vectors of several layers are not searched as one matrix', async () => {
  const all = await bert.embed(['a', 'b'], { layers: [0, 1], combine: 'none' })
  await expectFailure(() => VectorIndex.from(all), 'ERR_INVALID_INPUT', /combine 'none'.*layer\(-1\)/)
  await using index = VectorIndex.from(all.layer(1))
  await expectFailure(() => index.search(all, 1), 'ERR_INVALID_INPUT', /combine 'none'.*layer\(-1\)/)
  expect((await index.search(all.layer(1), 1)).get(1)[0]?.index).toBe(1)
})

describe('spans', () => {
  test('are the mean of their tokens', async () => {
    const whole = 'The river bank 😀 was closed, unbelievably so.'
    const bound = fc.integer({ min: 0, max: whole.length })
    const span = fc.tuple(bound, bound).filter(([a, b]) => a < b && /\S/.test(whole.slice(a, b)))
    const states = await bert.encode(whole, { layers: -1 })
    const pools = fc.constantFrom<Pool>('mean', 'max', 'last', 'weightedmean')
    await fc.assert(
      fc.asyncProperty(fc.array(span, { minLength: 1, maxLength: 5 }), pools, async (spans, pool) => {
        const inputs: EmbedInput[] = ['before', { text: whole, spans }, 'after']
        const vectors = await bert.embed(inputs, { pool, normalize: false })
        expect(vectors.data.length).toBe((spans.length + 2) * 384)
        for (const [index, span] of spans.entries()) {
          const [expected] = reduced(states, 0, { combine: 'none', pool }, tokensOf(states.texts[0]!, span))
          expect(maxDifference(vectors.get(1, index), expected!)).toBeLessThanOrEqual(1e-5)
        }
        const plain = await bert.embed(['before', 'after'], { pool, normalize: false })
        expect([vectors.get(0), vectors.get(2)]).toEqual([plain.get(0), plain.get(1)])
      }),
      runs(20),
    )
  })

  test('that make no sense are errors', async () => {
    const spans = (spans: unknown, rest = {}) => bert.embed({ text: 'a  b', ...rest, spans } as EmbedInput)
    await expectFailure(() => spans([]), 'ERR_INVALID_INPUT', /text 0: spans is empty/)
    await expectFailure(() => spans('no'), 'ERR_INVALID_INPUT', /spans must be an array/)
    await expectFailure(
      () => spans([[0]]),
      'ERR_INVALID_INPUT',
      /span 0 must be \[start, end\], two numbers, not an array of 1/,
    )
    await expectFailure(
      () =>
        spans([
          [0, 1],
          [1, 1],
        ]),
      'ERR_INVALID_INPUT',
      /span 1.*\[1, 1\]/,
    )
    await expectFailure(() => spans([[0, 5]]), 'ERR_INVALID_INPUT', /span 0.*<= 4.*\[0, 5\]/)
    await expectFailure(() => spans([[-1, 2]]), 'ERR_INVALID_INPUT', /\[-1, 2\]/)
    await expectFailure(() => spans([[1, 3]]), 'ERR_INVALID_INPUT', /span 0, \[1, 3\], covers no token/)
    await expectFailure(() => spans([[0, 1]], { pair: 'b' }), 'ERR_INVALID_INPUT', /single text/)
    await expectFailure(
      () => bert.embed({ ids: [1], spans: [[0, 1]] } as EmbedInput),
      'ERR_INVALID_INPUT',
      /single text/,
    )
    await expectFailure(() => bert.embed({ text: 'a', spans: [[0, 1]] }, { pool: 'cls' }), 'ERR_INVALID_INPUT', /'cls'/)
    const vectors = await bert.embed([
      'a',
      {
        text: 'a b',
        spans: [
          [0, 1],
          [2, 3],
        ],
      },
    ])
    await expectFailure(() => vectors.get(0, 0), 'ERR_INVALID_INPUT', /without spans/)
    await expectFailure(() => vectors.get(1), 'ERR_INVALID_INPUT', /spans 0 to 1/)
    await expectFailure(() => vectors.get(1, 2), 'ERR_INVALID_INPUT', /spans 0 to 1.*2/)
    await expectFailure(() => vectors.get(2), 'ERR_INVALID_INPUT', /texts 0 to 1.*2/)
  })
})

describe('precision', () => {
  test('int8 has a scale a vector, also of each layer', async () => {
    const options = { layers: [0, -1], combine: 'none' } as const
    const exact = await bert.embed(TEXTS, options)
    const { data, scales, dim, layer } = await bert.embed(TEXTS, { ...options, precision: 'int8' })
    expect(data).toBeInstanceOf(Int8Array)
    expect(scales!.length).toBe(2 * TEXTS.length)
    for (const [at, x] of exact.data.entries()) {
      const scale = scales![Math.floor(at / dim)]!
      expect(Math.abs(data[at]! * scale - x)).toBeLessThanOrEqual(scale * 0.501)
    }
    expect(layer).toBeDefined()
  })

  test('binary is a bit a number, the first in the highest bit', async () => {
    const options = { truncateDim: 13 }
    const exact = await bert.embed(TEXTS, options)
    const binary = await bert.embed(TEXTS, { ...options, precision: 'binary' })
    expect(binary).toMatchObject({ dim: 13, precision: 'binary', scales: undefined })
    for (const [text] of TEXTS.entries()) {
      const bits = Array.from(exact.get(text), x => (x > 0 ? '1' : '0'))
        .join('')
        .padEnd(16, '0')
      expect(Array.from(binary.get(text), byte => byte.toString(2).padStart(8, '0')).join('')).toBe(bits)
    }
  })

  test('float16 is the nearest binary16', async () => {
    const exact = await bert.embed(TEXTS)
    const { data } = await bert.embed(TEXTS, { precision: 'float16' })
    expect(data).toBeInstanceOf(Uint16Array)
    for (const [at, bits] of data.entries()) {
      const exponent = (bits >> 10) & 31
      const fraction = bits & 1023
      const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
      const value = bits >> 15 ? -magnitude : magnitude
      const step = 2 ** (Math.max(exponent, 1) - 25)
      expect(Math.abs(value - exact.data[at]!)).toBeLessThanOrEqual(step / 2)
    }
  })

  test('truncateDim takes the first numbers, then normalizes', async () => {
    const [plain, cut] = [await bert.embed('Hello'), await bert.embed('Hello', { truncateDim: 100 })]
    const length = Math.hypot(...plain.get(0).subarray(0, 100))
    expect(
      maxDifference(
        cut.get(0),
        plain
          .get(0)
          .subarray(0, 100)
          .map(x => x / length),
      ),
    ).toBeLessThanOrEqual(1e-6)
  })
})

describe('options', () => {
  test.each([
    [{ layer: 1 }, /'layer'.*'layers'/],
    [{ layers: [7] }, /7/],
    [{ combine: 'avg' }, /combine.*mean, sum.*"avg"/],
    [{ combine: [1, 2] }, /2 weights for 1 layers/],
    [{ combine: [Number.NaN] }, /finite.*NaN/],
    [{ combine: [1e39] }, /finite/],
    [{ combine: { scalarMix: 1 } }, /scalarMix.*array/],
    [{ combine: { scalarMix: [1], gama: 1 } }, /'gama'.*'gamma'/],
    [{ combine: { scalarMix: [1], gamma: Number.POSITIVE_INFINITY } }, /gamma.*Infinity/],
    [{ pool: 'average' }, /pool.*weightedmean.*"average"/],
    [{ pool: 'pooler', layers: 1 }, /last layer/],
    [{ pool: 'pooler', combine: [2] }, /last layer/],
    [{ pool: 'cls', includeSpecialTokens: false }, /'cls'.*special/],
    [{ includeSpecialTokens: 1 }, /includeSpecialTokens.*1/],
    [{ normalize: 'yes' }, /normalize.*"yes"/],
    [{ truncateDim: 385 }, /384.*385/],
    [{ truncateDim: 0 }, /truncateDim.*0/],
    [{ maxTokens: 513 }, /512.*513/],
    [{ maxTokens: 2 }, /3 tokens, 2 is the most/],
    [{ precision: 'int4' }, /precision.*binary.*"int4"/],
    [{ prompt: 1 }, /prompt.*1/],
    [{ prompt: 'a', promptName: 'b' }, /prompt and promptName/],
    [{ promptName: 'query' }, /no prompt 'query'/],
    [{ overflow: 'cut' }, /overflow/],
    [{ addSpecialTokens: false }, /'addSpecialTokens'/],
  ])('that make no sense: %j', async (options, message) => {
    const code = 'maxTokens' in options && options.maxTokens === 2 ? 'ERR_TOO_MANY_TOKENS' : 'ERR_INVALID_INPUT'
    await expectFailure(() => bert.embed('a', options as EmbedOptions), code, message)
  })

  test('layers apart are asked for by layer', async () => {
    const apart = await bert.embed('a', { layers: [1, -1], combine: 'none' })
    expect(apart.layers).toEqual([1, 6])
    await expectFailure(() => apart.get(0), 'ERR_INVALID_INPUT', /layer\(k\)\.get/)
    await expectFailure(() => apart.layer(2), 'ERR_INVALID_INPUT', /layer 2.*1, 6/)
    const together = await bert.embed('a')
    await expectFailure(() => together.layer(6), 'ERR_INVALID_INPUT', /combined/)
    expect(apart.layer(-1).get(0)).toEqual(together.get(0))
  })

  test('a text of special tokens only cannot leave them out', async () => {
    await expectFailure(
      () => bert.embed(['a', ''], { includeSpecialTokens: false }),
      'ERR_INVALID_INPUT',
      /text 1 has no token/,
    )
    expect((await bert.embed('')).get(0).length).toBe(384)
  })

  test('an aborted call rejects with the reason', async () => {
    const reason = new Error('enough')
    await expect(bert.embed('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

test('averaging all layers needs no more memory than one', { timeout: 600_000 }, async () => {
  const peak = async (layers: string) => {
    const { stdout, stderr } = await runNode([program('embed-peak.mjs'), layers])
    expect(stderr).toBe('')
    return Number(stdout)
  }
  // The states of all layers would be 176 MB.
  const [one, all] = [await peak('last'), await peak('all')]
  expect(all - one).toBeLessThan(60)
})
