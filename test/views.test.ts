import { join } from 'node:path'
import { Encoder, type HiddenStates, type TokenizedText } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NativeTokens } from '../ts/binding.ts'
import type * as Source from '../ts/hidden-states.ts'
import { expectFailure } from './support/errors.ts'
import { goldenFolder, PACKAGE } from './support/paths.ts'
import { runs } from './support/verify.ts'

let bert: Encoder
let states: HiddenStates
const inputs = [{ ids: [2, 7, 9, 3] }, { ids: [2, 3] }, { ids: [2, 100, 101, 102, 103, 3] }]
const TOKENS = 12

beforeAll(async () => {
  bert = await Encoder.fromPretrained(goldenFolder('bert'))
  states = await bert.encode(inputs)
})
afterAll(() => bert.dispose())

describe('views', () => {
  test('one exact buffer holds everything', () => {
    expect(states.layers).toEqual([0, 1, 2, 3, 4])
    expect(states.data.length).toBe(5 * TOKENS * 48)
    expect(states.data.buffer.byteLength).toBe(states.data.byteLength)
  })

  test('layer, get and token are views of it, at the right place', () => {
    const starts = [0, 4, 6]
    for (const layer of states.layers) {
      expect(states.layer(layer).buffer).toBe(states.data.buffer)
      expect(states.layer(layer).byteOffset).toBe(layer * TOKENS * 48 * 4)
      expect(states.layer(layer).length).toBe(TOKENS * 48)
      for (const [text, { ids }] of inputs.entries()) {
        const view = states.get(layer, text)
        expect(view.buffer).toBe(states.data.buffer)
        expect(view.byteOffset).toBe((layer * TOKENS + starts[text]!) * 48 * 4)
        expect(view.length).toBe(ids.length * 48)
        for (const token of ids.keys()) {
          const row = states.token(layer, text, token)
          expect(row.buffer).toBe(states.data.buffer)
          expect(row.byteOffset).toBe(view.byteOffset + token * 48 * 4)
          expect(row.length).toBe(48)
        }
      }
    }
  })

  test('negative layers count from the end of the model, not of the selection', async () => {
    const some = await bert.encode(inputs, { layers: [-1, 1] })
    expect(some.layers).toEqual([4, 1])
    expect(some.layer(-1).byteOffset).toBe(0)
    expect(some.layer(4)).toEqual(states.layer(4))
    expect(some.layer(-4)).toEqual(states.layer(1))
    const one = await bert.encode(inputs[0]!, { layers: 2 })
    expect(one.layers).toEqual([2])
    expect(one.data).toEqual(states.get(2, 0))
  })

  test('padded is a copy with zeros behind the shorter texts', () => {
    const { data, shape } = states.padded(-1)
    expect(shape).toEqual([3, 6, 48])
    expect(data.buffer).not.toBe(states.data.buffer)
    for (const [text, { ids }] of inputs.entries()) {
      const row = data.subarray(text * 6 * 48, (text + 1) * 6 * 48)
      expect(row.subarray(0, ids.length * 48)).toEqual(states.get(4, text))
      expect(row.subarray(ids.length * 48).every(value => value === 0)).toBe(true)
    }
  })

  test('padded that no memory is enough for tells the bytes', async () => {
    const { HiddenStates } = (await import(join(PACKAGE, 'dist/hidden-states.js'))) as typeof Source
    // One text of 2 ** 32 - 1 tokens of 2 ** 24 numbers: more than an array can be long.
    const tokens = { starts: Uint32Array.of(0, 2 ** 32 - 1) } as NativeTokens
    const texts = [{}] as TokenizedText[]
    const config = { hiddenSize: 2 ** 24, numLayers: 0, numHeads: 1 }
    const many = new HiddenStates({ data: new Float32Array(0), layers: [0], tokens }, texts, config, () => {})
    await expectFailure(() => many.padded(0), 'ERR_OUT_OF_MEMORY', String((2 ** 32 - 1) * 2 ** 24 * 4), /get\(\)/)
  })

  test('for any batch, the texts of a layer make up the layer', async () => {
    const ids = fc.array(fc.integer({ min: 0, max: 210 }), { minLength: 1, maxLength: 12 })
    const layers = fc.uniqueArray(fc.integer({ min: 0, max: 4 }), { minLength: 1 })
    await fc.assert(
      fc.asyncProperty(fc.array(ids, { minLength: 1, maxLength: 5 }), layers, async (batch, kept) => {
        const some = await bert.encode(
          batch.map(ids => ({ ids })),
          { layers: kept },
        )
        expect(some.layers).toEqual(kept)
        const texts = kept.flatMap(layer => batch.flatMap((_, text) => [...some.get(layer, text)]))
        expect(Float32Array.from(texts)).toEqual(some.data)
        const tokens = kept.flatMap(layer =>
          batch.flatMap((ids, text) => ids.flatMap((_, token) => [...some.token(layer, text, token)])),
        )
        expect(Float32Array.from(tokens)).toEqual(some.data)
      }),
      runs(20),
    )
  })
})

describe('what is not there', () => {
  test('a layer that was not kept: the error lists those that were', async () => {
    const some = await bert.encode(inputs, { layers: [0, 3] })
    for (const layer of [1, -1, 5, -6, 0.5, Number.NaN]) {
      await expectFailure(() => some.layer(layer), 'ERR_INVALID_INPUT', `layer ${layer}`, /kept: 0, 3/)
      await expectFailure(() => some.get(layer, 0), 'ERR_INVALID_INPUT', `layer ${layer}`)
      await expectFailure(() => some.padded(layer), 'ERR_INVALID_INPUT', `layer ${layer}`)
    }
  })

  test('a text or a token', async () => {
    for (const text of [3, -1, 0.5, Number.NaN]) {
      await expectFailure(() => states.get(0, text), 'ERR_INVALID_INPUT', /texts 0 to 2/, String(text))
    }
    for (const token of [4, -1, 0.5, Number.NaN]) {
      await expectFailure(
        () => states.token(0, 0, token),
        'ERR_INVALID_INPUT',
        /text 0 has tokens 0 to 3/,
        String(token),
      )
    }
  })
})
