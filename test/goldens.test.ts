import { join } from 'node:path'
import { Encoder, type HiddenStates } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { expectParity } from './support/compare.ts'
import { goldenFolder } from './support/paths.ts'
import { floats, integers, readSafetensors, type SafetensorsFile, shape } from './support/safetensors.ts'

/** A golden batch, padded as Transformers had it. */
interface Batch {
  texts: number
  longest: number
  ids: number[][]
  mask: number[][]
  typeIds: number[][]
  lengths: number[]
}

describe.each(['bert', 'bert-relu', 'bert-gelu_new'])('%s equals Transformers', family => {
  const golden = readSafetensors(join(goldenFolder(family), 'goldens.safetensors'))

  test.each(['short', 'long'])('%s texts, without padding', async name => {
    const batch = readBatch(golden, name)
    await using bert = await Encoder.fromPretrained(goldenFolder(family))
    const inputs = batch.lengths.map((length, text) => ({
      ids: batch.ids[text]!.slice(0, length),
      typeIds: batch.typeIds[text]!.slice(0, length),
    }))
    expectGolden(await bert.encode(inputs, { pooler: true }), golden, name, batch)
  })

  test.each(['short', 'long'])('%s texts, padded and masked', async name => {
    const batch = readBatch(golden, name)
    await using bert = await Encoder.fromPretrained(goldenFolder(family))
    const inputs = batch.ids.map((ids, text) => ({
      ids: Int32Array.from(ids),
      typeIds: batch.typeIds[text]!,
      attentionMask: batch.mask[text]!.map(Boolean),
    }))
    const states = await bert.encode(inputs, { pooler: true })
    expect(states.get(0, 0).length).toBe(batch.longest * states.hiddenSize)
    expectGolden(states, golden, name, batch)
  })
})

function readBatch(golden: SafetensorsFile, name: string): Batch {
  const [texts = 0, longest = 0] = shape(golden, `${name}.input_ids`)
  const rows = (column: string) => {
    const all = integers(golden, `${name}.${column}`)
    return Array.from({ length: texts }, (_, text) => all.slice(text * longest, (text + 1) * longest))
  }
  const mask = rows('attention_mask')
  const lengths = mask.map(row => row.filter(Boolean).length)
  return { texts, longest, ids: rows('input_ids'), mask, typeIds: rows('token_type_ids'), lengths }
}

/** Every layer and the pooler, at the positions that are not padding. */
function expectGolden(states: HiddenStates, golden: SafetensorsFile, name: string, batch: Batch): void {
  const expected = floats(golden, `${name}.hidden_states`)
  const [layers = 0, , , hidden = 0] = shape(golden, `${name}.hidden_states`)
  expect(states.layers).toEqual(Array.from({ length: layers }, (_, layer) => layer))
  expect(states.hiddenSize).toBe(hidden)
  for (const layer of states.layers) {
    for (const [text, length] of batch.lengths.entries()) {
      const start = (layer * batch.texts + text) * batch.longest * hidden
      const rows = states.get(layer, text).subarray(0, length * hidden)
      expectParity(rows, expected.subarray(start, start + length * hidden), `layer ${layer} of text ${text}`)
    }
  }
  expectParity(states.poolerOutput ?? new Float32Array(), floats(golden, `${name}.pooler_output`), 'the pooler')
}
