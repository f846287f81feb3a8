import { join } from 'node:path'
import { Encoder, type HiddenStates } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { expectParity, maxDifference } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { goldenFolder } from './support/paths.ts'
import { floats, has, integers, readSafetensors, type SafetensorsFile, shape } from './support/safetensors.ts'

/** A golden batch, padded as Transformers had it. */
interface Batch {
  texts: number
  longest: number
  ids: number[][]
  mask: number[][]
  /** None where the family has no token types. */
  typeIds: number[][] | undefined
  lengths: number[]
}

const FAMILIES = [
  'roberta',
  'xlm-roberta',
  'camembert',
  'distilbert',
  'electra',
  'ernie',
  'albert',
  'mpnet',
  'deberta-v2',
]

describe.each(['bert', 'bert-relu', 'bert-gelu_new', ...FAMILIES])('%s equals Transformers', family => {
  const golden = readSafetensors(join(goldenFolder(family), 'goldens.safetensors'))

  test.each(['short', 'long'])('%s texts, without padding', async name => {
    const batch = readBatch(golden, name)
    await using encoder = await Encoder.fromPretrained(goldenFolder(family))
    const inputs = batch.lengths.map((length, text) => ({
      ids: batch.ids[text]!.slice(0, length),
      ...(batch.typeIds && { typeIds: batch.typeIds[text]!.slice(0, length) }),
    }))
    const pooler = has(golden, `${name}.pooler_output`)
    const states = await encoder.encode(inputs, { pooler, attentions: true })
    expectGolden(states, golden, name, batch)
    expectAttentions(states, golden, name, batch)
  })

  test.each(['short', 'long'])('%s texts, padded and masked', async name => {
    const batch = readBatch(golden, name)
    await using encoder = await Encoder.fromPretrained(goldenFolder(family))
    const inputs = batch.ids.map((ids, text) => ({
      ids: Int32Array.from(ids),
      ...(batch.typeIds && { typeIds: batch.typeIds[text]! }),
      attentionMask: batch.mask[text]!.map(Boolean),
    }))
    const states = await encoder.encode(inputs, { pooler: has(golden, `${name}.pooler_output`) })
    expect(states.get(0, 0).length).toBe(batch.longest * states.hiddenSize)
    expectGolden(states, golden, name, batch)
  })

  test('says what it is', async () => {
    await using encoder = await Encoder.fromPretrained(goldenFolder(family))
    expect(encoder.config.modelType).toBe(family.startsWith('bert') ? 'bert' : family)
    const startsAtTwo = ['roberta', 'xlm-roberta', 'camembert', 'mpnet'].includes(family)
    expect(encoder.config.maxTokens).toBe(startsAtTwo ? 78 : 80)
    if (!has(golden, 'short.pooler_output')) {
      await expectFailure(() => encoder.encode({ ids: [5] }, { pooler: true }), 'ERR_INVALID_INPUT', /no pooler/)
    }
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
  const typeIds = has(golden, `${name}.token_type_ids`) ? rows('token_type_ids') : undefined
  return { texts, longest, ids: rows('input_ids'), mask, typeIds, lengths }
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
  const pooler = `${name}.pooler_output`
  if (has(golden, pooler)) {
    expectParity(states.poolerOutput ?? new Float32Array(), floats(golden, pooler), 'the pooler')
  } else {
    expect(states.poolerOutput).toBeUndefined()
  }
}

/** Every block's weights, within 1e-5: the upper left corners of the padded matrices. */
function expectAttentions(states: HiddenStates, golden: SafetensorsFile, name: string, batch: Batch): void {
  const expected = floats(golden, `${name}.attentions`)
  const [blocks = 0, , heads = 0] = shape(golden, `${name}.attentions`)
  const { texts, longest, lengths } = batch
  for (let block = 0; block < blocks; block++) {
    for (const [text, length] of lengths.entries()) {
      for (let head = 0; head < heads; head++) {
        const ours = states.attention(block + 1, head, text)
        const start = ((block * texts + text) * heads + head) * longest * longest
        for (let query = 0; query < length; query++) {
          const theirs = expected.subarray(start + query * longest, start + query * longest + length)
          expect(maxDifference(ours.subarray(query * length, (query + 1) * length), theirs)).toBeLessThanOrEqual(1e-5)
        }
      }
    }
  }
}
