import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Encoder, inspect } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { cosine, expectParity } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { goldenFolder, ROOT, temporaryFolder } from './support/paths.ts'
import { floats, integers, readSafetensors, shape } from './support/safetensors.ts'

const VARIANTS = [
  'deberta-v2-c2p',
  'deberta-v2-p2c',
  'deberta-v2-own-keys',
  'deberta-v2-no-buckets',
  'deberta-v2-conv',
  'deberta-v2-conv-groups',
  'deberta-v2-biased-input',
  'deberta-v2-no-relative',
  'deberta-v2-masked-lm',
  'deberta-v2-sequence-classification',
  'deberta',
  'deberta-c2p',
  'deberta-masked-lm',
]

function variantFolder(name: string): string {
  return join(ROOT, 'test/fixtures/goldens-families', name)
}

/** A padded golden batch as inputs, and what each unmasked token's state is in a layer. */
function readCase(name: string, which: string) {
  const golden = readSafetensors(join(variantFolder(name), 'goldens.safetensors'))
  const [texts = 0, longest = 0] = shape(golden, `${which}.input_ids`)
  const rows = (column: string) => {
    const all = integers(golden, `${which}.${column}`)
    return Array.from({ length: texts }, (_, text) => all.slice(text * longest, (text + 1) * longest))
  }
  const typeIds = `${which}.token_type_ids` in golden.header ? rows('token_type_ids') : undefined
  const mask = rows('attention_mask')
  const inputs = rows('input_ids').map((ids, text) => ({
    ids,
    ...(typeIds && { typeIds: typeIds[text]! }),
    attentionMask: mask[text]!.map(Boolean),
  }))
  const states = floats(golden, `${which}.hidden_states`)
  const [layers = 0, , , hidden = 0] = shape(golden, `${which}.hidden_states`)
  const state = (layer: number, text: number, token: number) => {
    const start = ((layer * texts + text) * longest + token) * hidden
    return states.subarray(start, start + hidden)
  }
  const unmasked = mask.flatMap((row, text) => row.flatMap((seen, token) => (seen ? [{ text, token }] : [])))
  return { inputs, layers, state, unmasked }
}

describe.each(VARIANTS)('%s equals Transformers', name => {
  test.each(['short', 'holes'])('%s: texts with padding, and with tokens masked in their midst', async which => {
    const { inputs, layers, state, unmasked } = readCase(name, which)
    await using encoder = await Encoder.fromPretrained(variantFolder(name))
    const states = await encoder.encode(inputs)
    expect(states.layers.length).toBe(layers)
    for (const layer of states.layers) {
      for (const { text, token } of unmasked) {
        expectParity(states.token(layer, text, token), state(layer, text, token), `${layer}, ${text}, ${token}`)
      }
    }
  })

  test.each(['bfloat16', 'int8'] as const)('%s is close', async dtype => {
    const { inputs, state, unmasked } = readCase(name, 'short')
    await using encoder = await Encoder.fromPretrained(variantFolder(name), { dtype })
    const states = await encoder.encode(inputs)
    for (const layer of states.layers) {
      const cosines = unmasked.map(({ text, token }) =>
        cosine(states.token(layer, text, token), state(layer, text, token)),
      )
      expect(cosines.reduce((a, b) => a + b) / cosines.length).toBeGreaterThan(dtype === 'int8' ? 0.995 : 0.9995)
    }
  })
})

describe('tokenizers of DeBERTa', () => {
  test('a v3 folder with spm.model only says how to get a tokenizer.json', async () => {
    const folder = temporaryFolder()
    for (const file of ['config.json', 'model.safetensors']) {
      cpSync(join(goldenFolder('deberta-v2'), file), join(folder, file))
    }
    writeFileSync(join(folder, 'spm.model'), 'x')
    await using encoder = await Encoder.fromPretrained(folder)
    await expectFailure(
      () => encoder.encode('a'),
      'ERR_INVALID_INPUT',
      /spm\.model only/,
      /save_pretrained/,
      /tokenizer\.json/,
    )
    expect((await encoder.encode({ ids: [5, 6] })).layers).toEqual([0, 1, 2, 3, 4])
    expect((await inspect(folder)).notices.join()).toMatch(/spm\.model/)
  })

  test("the first version's vocab.json and merges.txt, whose special tokens no file names", async () => {
    await using encoder = await Encoder.fromPretrained(variantFolder('text-deberta'))
    const [text] = await encoder.tokenize('Hello world')
    expect(text!.tokens).toEqual(['[CLS]', 'Hello', 'Ġworld', '[SEP]'])
  })
})
