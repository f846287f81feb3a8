import { join } from 'node:path'
import { convert, Encoder, type HiddenStates, inspect, type LastLayer } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { expectParity, maxDifference, sameBits } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { CLI, goldenFolder, ROOT, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { floats, integers, readSafetensors, type SafetensorsFile, shape } from './support/safetensors.ts'

const ROTARY = join(ROOT, 'test/fixtures/goldens-rotary')
const FOLDERS = [goldenFolder('modernbert'), goldenFolder('nomic_bert'), join(ROTARY, 'modernbert-biases')]

/** A padded batch of the goldens. */
class Batch {
  readonly #goldens: SafetensorsFile
  readonly #name: string
  readonly texts: number
  readonly longest: number

  constructor(goldens: SafetensorsFile, name: string) {
    this.#goldens = goldens
    this.#name = name
    const [texts = 0, longest = 0] = shape(goldens, `${name}.input_ids`)
    this.texts = texts
    this.longest = longest
  }

  #row(column: string, text: number): number[] {
    return integers(this.#goldens, `${this.#name}.${column}`).slice(text * this.longest, (text + 1) * this.longest)
  }

  length(text: number): number {
    return this.#row('attention_mask', text).filter(Boolean).length
  }

  inputs(padded: boolean) {
    const typed = `${this.#name}.token_type_ids` in this.#goldens.header
    return Array.from({ length: this.texts }, (_, text) => {
      const length = padded ? this.longest : this.length(text)
      const input = { ids: this.#row('input_ids', text).slice(0, length) }
      return {
        ...input,
        ...(typed && { typeIds: this.#row('token_type_ids', text).slice(0, length) }),
        ...(padded && { attentionMask: this.#row('attention_mask', text) }),
      }
    })
  }

  /** Every layer at the positions that are not padding; `last` names what the last one is compared with. */
  expectStates(states: HiddenStates, last = 'hidden_states'): void {
    const all = floats(this.#goldens, `${this.#name}.hidden_states`)
    const [layers = 0, , , hidden = 0] = shape(this.#goldens, `${this.#name}.hidden_states`)
    expect(states.layers).toEqual(Array.from({ length: layers }, (_, layer) => layer))
    const size = this.texts * this.longest * hidden
    for (const layer of states.layers) {
      const instead = layer === layers - 1 && last !== 'hidden_states'
      const layerStates = instead
        ? floats(this.#goldens, `${this.#name}.${last}`)
        : all.subarray(layer * size, (layer + 1) * size)
      for (let text = 0; text < this.texts; text++) {
        const start = text * this.longest * hidden
        const length = this.length(text) * hidden
        const theirs = layerStates.subarray(start, start + length)
        expectParity(states.get(layer, text).subarray(0, length), theirs, `layer ${layer} of text ${text}`)
      }
    }
  }

  expectAttentions(states: HiddenStates): void {
    const theirs = floats(this.#goldens, `${this.#name}.attentions`)
    const [blocks = 0, texts = 0, heads = 0, longest = 0] = shape(this.#goldens, `${this.#name}.attentions`)
    for (let at = 0; at < blocks * texts * heads; at++) {
      const [head, text, layer] = [at % heads, Math.floor(at / heads) % texts, 1 + Math.floor(at / heads / texts)]
      const length = this.length(text)
      const ours = states.attention(layer, head, text)
      for (let query = 0; query < length; query++) {
        const start = (at * longest + query) * longest
        const row = ours.subarray(query * length, (query + 1) * length)
        expect(maxDifference(row, theirs.subarray(start, start + length))).toBeLessThanOrEqual(1e-5)
      }
    }
  }
}

describe.each(FOLDERS)('%s equals Transformers', folder => {
  const goldens = readSafetensors(join(folder, 'goldens.safetensors'))

  test.each(['short', 'long'])('%s texts', async name => {
    const batch = new Batch(goldens, name)
    await using bert = await Encoder.fromPretrained(folder)
    const states = await bert.encode(batch.inputs(false), { attentions: true })
    batch.expectStates(states)
    batch.expectAttentions(states)
    const padded = await bert.encode(batch.inputs(true))
    batch.expectStates(padded)
    for (const [text, input] of batch.inputs(true).entries()) {
      const alone = await bert.encode(input)
      for (const layer of alone.layers) expect(sameBits(alone.get(layer, 0), padded.get(layer, text))).toBe(true)
    }
  })
})

describe('the last layer', () => {
  const folder = join(ROTARY, 'modernbert-masked-lm')
  const batch = new Batch(readSafetensors(join(folder, 'goldens.safetensors')), 'short')

  test('is after the final norm, or before it', async () => {
    await using bert = await Encoder.fromPretrained(folder)
    await using after = await Encoder.fromPretrained(folder, { lastLayer: 'after-norm' })
    await using before = await Encoder.fromPretrained(folder, { lastLayer: 'before-norm' })
    const inputs = batch.inputs(false)
    const states = await bert.encode(inputs)
    batch.expectStates(states)
    expect(sameBits((await after.encode(inputs)).data, states.data)).toBe(true)
    batch.expectStates(await before.encode(inputs), 'before_norm')
    expect(after.fingerprint).toBe(bert.fingerprint)
    expect(before.fingerprint).not.toBe(bert.fingerprint)
    // What is made of layers is made of the layer that is delivered.
    const { data } = await before.embed(inputs[1]!, { pool: 'cls' })
    const last = (await before.encode(inputs[1]!)).token(-1, 0, 0)
    expect(sameBits(data, last)).toBe(true)
  })

  test('has no other side where no norm follows the last block', async () => {
    for (const name of ['bert', 'nomic_bert']) {
      await expectFailure(
        () => Encoder.fromPretrained(goldenFolder(name), { lastLayer: 'before-norm' }),
        'ERR_INVALID_INPUT',
        new RegExp(`before-norm.*'${name}'.*leave the option out`),
      )
    }
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'), { lastLayer: 'after-norm' })
    expect(bert.config.modelType).toBe('bert')
    await expectFailure(
      () => Encoder.fromPretrained(folder, { lastLayer: 'before_norm' as LastLayer }),
      'ERR_INVALID_INPUT',
      /lastLayer.*before-norm.*"before_norm"/,
    )
  })

  test('on the command line', async () => {
    const wrong = await runNode([CLI, 'encode', 'a', '--last-layer', 'before'])
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toMatch(/--last-layer.*"before"/)
    const refused = await runNode([CLI, 'encode', 'a', '--last-layer', 'before-norm'])
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/^ERR_INVALID_INPUT: .*before-norm/)
  })
})

describe.each([
  [goldenFolder('nomic_bert'), 'nomic_bert', []],
  [join(ROTARY, 'nomic_bert-own-names'), 'nomic_bert', []],
  [join(ROTARY, 'nomic_bert-remote'), 'nomic_bert', ['cls.predictions']],
  [join(ROTARY, 'modernbert-masked-lm'), 'modernbert', ['decoder', 'head.dense', 'head.norm']],
])('%s', (folder, modelType, heads) => {
  test('is inspected and converted under the names that it has', async () => {
    const found = await inspect(folder)
    expect({ modelType: found.modelType, heads: found.heads }).toEqual({ modelType, heads })
    const target = join(temporaryFolder(), 'converted')
    await convert(folder, target)
    const names = (at: string) => Object.keys(readSafetensors(join(at, 'model.safetensors')).header).sort()
    expect(names(target)).toEqual(names(folder))
    await using source = await Encoder.fromPretrained(folder)
    await using converted = await Encoder.fromPretrained(target)
    expect(converted.fingerprint).toBe(source.fingerprint)
  })
})
