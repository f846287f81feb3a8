import { Encoder, type HiddenStates } from 'bert-layers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { maxDifference, sameBits } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { goldenFolder } from './support/paths.ts'
import { floats, integers, readSafetensors, shape } from './support/safetensors.ts'

const goldens = readSafetensors(`${goldenFolder('bert')}/goldens.safetensors`)
const HEADS = 4
let bert: Encoder

beforeAll(async () => {
  bert = await Encoder.fromPretrained(goldenFolder('bert'))
})
afterAll(() => bert.dispose())

/** The texts of a padded batch, each as long as it is. */
function inputs(name: string) {
  const [texts, longest] = shape(goldens, `${name}.input_ids`) as [number, number]
  const column = (what: string, text: number) =>
    integers(goldens, `${name}.${what}`).slice(text * longest, (text + 1) * longest)
  return Array.from({ length: texts }, (_, text) => {
    const length = column('attention_mask', text).filter(seen => seen === 1).length
    return { ids: column('input_ids', text).slice(0, length), typeIds: column('token_type_ids', text).slice(0, length) }
  })
}

/** The upper left corner of the padded matrix that Transformers gives. */
function golden(name: string, layer: number, text: number, head: number, length: number): Float32Array {
  const [, texts, heads, longest] = shape(goldens, `${name}.attentions`) as number[]
  const start = (((layer - 1) * texts! + text) * heads! + head) * longest! * longest!
  const matrix = floats(goldens, `${name}.attentions`).subarray(start, start + longest! * longest!)
  return Float32Array.from(
    { length: length * length },
    (_, at) => matrix[Math.floor(at / length) * longest! + (at % length)]!,
  )
}

function rowSums(matrix: Float32Array, length: number): number[] {
  return Array.from({ length }, (_, row) =>
    matrix.subarray(row * length, (row + 1) * length).reduce((a, b) => a + b, 0),
  )
}

describe('attentions', () => {
  test('equal those of Transformers within 1e-5, and rows add up to 1', async () => {
    for (const name of ['short', 'long']) {
      const given = inputs(name)
      const states = await bert.encode(given, { attentions: true })
      for (const layer of [1, 2, 3, 4]) {
        for (const [text, { ids }] of given.entries()) {
          for (let head = 0; head < HEADS; head++) {
            const ours = states.attention(layer, head, text)
            expect(ours.length).toBe(ids.length ** 2)
            expect(maxDifference(ours, golden(name, layer, text, head, ids.length))).toBeLessThanOrEqual(1e-5)
            for (const sum of rowSums(ours, ids.length)) expect(Math.abs(sum - 1)).toBeLessThanOrEqual(1e-6)
          }
        }
      }
    }
  })

  test('are views of one exact buffer, of the layers kept, in their order', async () => {
    const given = inputs('short')
    const all = await bert.encode(given, { attentions: true })
    const some = await bert.encode(given, { layers: [-1, 0, 2], attentions: true })
    const size = given.reduce((sum, { ids }) => sum + HEADS * ids.length ** 2, 0)
    expect(some.attentions?.length).toBe(2 * size)
    expect(some.attentions?.buffer.byteLength).toBe(2 * size * 4)
    expect(some.attention(4, 0, 0).byteOffset).toBe(0)
    expect(some.attention(2, 0, 0).byteOffset).toBe(size * 4)
    for (const layer of [-1, 4, 2, -3]) {
      for (const text of given.keys()) {
        for (let head = 0; head < HEADS; head++) {
          const view = some.attention(layer, head, text)
          expect(view.buffer).toBe(some.attentions?.buffer)
          expect(sameBits(view, all.attention(layer, head, text))).toBe(true)
        }
      }
    }
  })

  test('do not depend on the batch, and hidden states do not depend on them', async () => {
    const given = inputs('long')
    const together = await bert.encode(given, { attentions: true })
    const without = await bert.encode(given)
    expect(sameBits(together.data, without.data)).toBe(true)
    for (const [text, input] of given.entries()) {
      const alone = await bert.encode(input, { layers: 3, attentions: true })
      for (let head = 0; head < HEADS; head++) {
        expect(sameBits(alone.attention(3, head, 0), together.attention(3, head, text))).toBe(true)
      }
    }
  })

  test('give a masked token nothing', async () => {
    const [input] = inputs('short')
    const { ids, typeIds } = input!
    const padded = await bert.encode(
      { ids: [...ids, 0, 9], typeIds: [...typeIds, 0, 0], attentionMask: [...ids.map(() => 1), 0, 0] },
      { attentions: true },
    )
    const plain = await bert.encode(input!, { attentions: true })
    const length = ids.length + 2
    for (let row = 0; row < length; row++) {
      const weights = padded.attention(2, 1, 0).subarray(row * length, (row + 1) * length)
      expect([weights[length - 2], weights[length - 1]]).toEqual([0, 0])
      if (row >= ids.length) continue
      const unpadded = plain.attention(2, 1, 0).subarray(row * ids.length, (row + 1) * ids.length)
      expect(sameBits(weights.subarray(0, ids.length), unpadded)).toBe(true)
    }
  })

  test('of a text explain its tokens', async () => {
    await using mini = await Encoder.fromPretrained()
    const states = await mini.encode(['Hello, world!', ''], { layers: 6, attentions: true })
    const length = states.texts[0]!.tokens.length
    expect(states.attention(6, 11, 0).length).toBe(length ** 2)
    expect(states.attention(-1, 0, 1).length).toBe(4)
    expect(states.attentions?.length).toBe(12 * (length ** 2 + 4))
  })
})

describe('what is not there', () => {
  let states: HiddenStates
  beforeAll(async () => {
    states = await bert.encode({ ids: [5, 6] }, { layers: [0, 2], attentions: true })
  })

  test('is refused', async () => {
    await expectFailure(() => states.attention(0, 0, 0), 'ERR_INVALID_INPUT', /layer 0.*no attention/)
    await expectFailure(() => states.attention(1, 0, 0), 'ERR_INVALID_INPUT', /layer 1.*kept: 0, 2/)
    for (const head of [4, -1, 0.5]) {
      await expectFailure(() => states.attention(2, head, 0), 'ERR_INVALID_INPUT', /heads 0 to 3/)
    }
    await expectFailure(() => states.attention(2, 0, 1), 'ERR_INVALID_INPUT', /texts 0 to 0/)
    await expectFailure(
      () => bert.encode({ ids: [5] }, { layers: 0, attentions: true }),
      'ERR_INVALID_INPUT',
      /layer 0/,
    )
    const without = await bert.encode({ ids: [5] })
    expect(without.attentions).toBeUndefined()
    await expectFailure(() => without.attention(1, 0, 0), 'ERR_INVALID_INPUT', /attentions: true/)
    const wrong = { attentions: [1] } as unknown as { attentions: boolean }
    await expectFailure(() => bert.encode({ ids: [5] }, wrong), 'ERR_INVALID_INPUT', /attentions must be true or false/)
  })

  test('is not enough memory: the bytes are told before anything is computed', async () => {
    await using mini = await Encoder.fromPretrained()
    const input = { ids: new Uint32Array(512).fill(7) }
    const inputs = Array.from({ length: 20_000 }, () => input)
    const bytes = 20_000 * (512 * 384 + 12 * 512 ** 2) * 4
    await expectFailure(
      () => mini.encode(inputs, { layers: -1, attentions: true }),
      'ERR_OUT_OF_MEMORY',
      String(bytes),
      /leave attentions out/,
    )
  })
})
