import { cpSync, existsSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { convert, Encoder } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { cosine, expectParity, maxDifference } from './support/compare.ts'
import { program, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { GOLDENS, MODELS, REAL_MODELS } from './support/real-models.ts'
import { floats, integers, readSafetensors } from './support/safetensors.ts'

interface GoldenText {
  text: string | [text: string, pair: string]
  tokens: string[]
  /** In code points. */
  offsets_utf32: [start: number, end: number][]
}

/** Runs the tests where the files are; says so where they are not. */
function describeWith(files: string[], name: string, tests: () => void): void {
  const missing = files.filter(file => !existsSync(file))
  if (missing.length === 0) describe(name, tests)
  else console.log(`not run: ${name} (no ${missing.join(', ')})`)
}

for (const name of REAL_MODELS) {
  const folder = join(MODELS, name)
  const golden = join(GOLDENS, name)
  describeWith([folder, `${golden}.json`, `${golden}.safetensors`], `${name} equals Transformers`, () => {
    test('tokens, ids, offsets and every layer', async () => {
      const { texts } = JSON.parse(readFileSync(`${golden}.json`, 'utf8')) as { texts: GoldenText[] }
      const tensors = readSafetensors(`${golden}.safetensors`)
      await using bert = await Encoder.fromPretrained(folder)
      const inputs = texts.map(({ text }) => (typeof text === 'string' ? text : { text: text[0], pair: text[1] }))
      const states = await bert.encode(inputs)
      for (const [index, expected] of texts.entries()) {
        const actual = states.texts[index]!
        expect(actual.tokens).toEqual(expected.tokens)
        expect(actual.ids).toEqual(integers(tensors, `${index}.input_ids`))
        expect(actual.typeIds).toEqual(integers(tensors, `${index}.token_type_ids`))
        expect(actual.offsets).toEqual(utf16Offsets(expected, actual.sequenceIds))
        const hidden = floats(tensors, `${index}.hidden_states`)
        const rows = hidden.length / states.layers.length
        for (const layer of states.layers) {
          const reference = hidden.subarray(layer * rows, (layer + 1) * rows)
          expectParity(states.get(layer, index), reference, `layer ${layer} of text ${index}`)
        }
      }
    })
  })
}

describeWith([join(MODELS, 'bert-base-uncased')], 'bert-base-uncased', () => {
  test('gives the numbers of the test suite of Transformers', async () => {
    await using bert = await Encoder.fromPretrained(join(MODELS, 'bert-base-uncased'))
    const ids = [0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]
    const states = await bert.encode({ ids, attentionMask: ids.map((_, at) => (at === 0 ? 0 : 1)) }, { layers: -1 })
    const expected = [
      [0.4249, 0.1008, 0.7531],
      [0.3771, 0.1188, 0.7467],
      [0.4152, 0.1098, 0.7108],
    ]
    for (const [row, values] of expected.entries()) {
      const actual = states.token(-1, 0, row + 1).subarray(1, 4)
      expect(maxDifference(actual, values)).toBeLessThanOrEqual(1e-4)
    }
  })
})

/** A folder with the files of a model, but the weights of another folder. */
function withWeightsOf(name: string, weights: string, ...files: string[]): string {
  const folder = temporaryFolder()
  for (const file of ['config.json', 'vocab.txt', 'tokenizer_config.json']) {
    cpSync(join(MODELS, name, file), join(folder, file))
  }
  for (const file of files) symlinkSync(join(weights, file), join(folder, file))
  return folder
}

/** bert-base-uncased as Google released it, and what scripts/make_format_fixtures.py made of it with the official libraries. */
const UNCASED = join(MODELS, 'bert-base-uncased')
const SAVED_MODEL = join(MODELS, '.raw/bert-base-uncased')
const FORMATS: [string, folder: string, file: string][] = [
  ['its TensorFlow SavedModel', SAVED_MODEL, 'variables'],
  ['a PyTorch .bin of it', join(MODELS, '.formats/bert-base-uncased/pytorch-zip'), 'pytorch_model.bin'],
  ['a PyTorch .bin of before 1.6', join(MODELS, '.formats/bert-base-uncased/pytorch-legacy'), 'pytorch_model.bin'],
  ['a Flax msgpack of it', join(MODELS, '.formats/bert-base-uncased/flax'), 'flax_model.msgpack'],
]
for (const [what, folder, file] of FORMATS) {
  describeWith([UNCASED, join(folder, file)], `bert-base-uncased and ${what}`, () => {
    test('give bit-equal states, converted too', async () => {
      const source = withWeightsOf('bert-base-uncased', folder, file)
      const target = join(temporaryFolder(), 'converted')
      await convert(source, target)
      await using original = await Encoder.fromPretrained(UNCASED)
      await using read = await Encoder.fromPretrained(source)
      await using converted = await Encoder.fromPretrained(target)
      expect(read.fingerprint).toBe(original.fingerprint)
      expect(converted.fingerprint).toBe(original.fingerprint)
      const texts = ['你好，世界！', 'He deposited the cheque at the bank, then sat on the river bank.', '']
      const expected = await original.encode(texts, { pooler: true })
      for (const encoder of [read, converted]) {
        const states = await encoder.encode(texts, { pooler: true })
        expect(Buffer.compare(Buffer.from(states.data.buffer), Buffer.from(expected.data.buffer))).toBe(0)
        expect(states.poolerOutput).toEqual(expected.poolerOutput)
      }
    })
  })
}

const MULTILINGUAL = join(MODELS, '.raw/bert-base-multilingual-cased')
describeWith([MULTILINGUAL, join(MODELS, 'bert-base-multilingual-cased')], 'converting mBERT', () => {
  test.each([undefined, 'bfloat16'])('takes less than 1.5 × its size in memory (dtype %s)', async dtype => {
    const source = withWeightsOf('bert-base-multilingual-cased', MULTILINGUAL, 'variables')
    const size = statSync(join(source, 'variables/variables.data-00000-of-00001')).size
    const args = [program('convert-and-report.mjs'), source, join(temporaryFolder(), 'converted')]
    const { code, stdout, stderr } = await runNode(dtype === undefined ? args : [...args, dtype])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    console.log(`peak ${(Number(stdout) / size).toFixed(2)} × ${size} bytes`)
    expect(Number(stdout)).toBeLessThan(1.5 * size)
  })
})

describeWith([join(MODELS, 'all-minilm-l6-v2')], 'the default model in float16', () => {
  test('stays near its float32 original at every layer', async () => {
    await using original = await Encoder.fromPretrained(join(MODELS, 'all-minilm-l6-v2'))
    await using embedded = await Encoder.fromPretrained()
    const texts = ['你好，世界！', 'He deposited the cheque at the bank, then sat on the river bank.', '']
    const [expected, actual] = await Promise.all([original.encode(texts), embedded.encode(texts)])
    for (const layer of expected.layers) {
      for (const [text, { ids }] of expected.texts.entries()) {
        for (const token of ids.keys()) {
          const similarity = cosine(actual.token(layer, text, token), expected.token(layer, text, token))
          expect(similarity, `layer ${layer}, text ${text}, token ${token}`).toBeGreaterThanOrEqual(0.99999)
        }
      }
    }
  })
})

/** The golden offsets, from code points to UTF-16 code units. */
function utf16Offsets({ text, offsets_utf32 }: GoldenText, sequenceIds: (number | null)[]): [number, number][] {
  const starts = [text].flat().map(part => {
    const units = [0]
    for (const character of part) units.push(units.at(-1)! + character.length)
    return units
  })
  return offsets_utf32.map(([start, end], token) => {
    const units = starts[sequenceIds[token] ?? -1]
    return units === undefined ? [0, 0] : [units[start]!, units[end]!]
  })
}
