import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Encoder, type EncoderInput, type HiddenStates } from 'bert-layers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sameBits } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { temporaryFolder } from './support/paths.ts'
import { copyTinyModel, dropTensors, TINY_VOCABULARY, writeTokenizer, writeVocabulary } from './support/tiny-model.ts'

/** What a caller without types could pass. */
const untyped = (value: unknown) => value as EncoderInput

let bert: Encoder
let reference: HiddenStates
const sound = { ids: [2, 50, 60, 3] }

beforeAll(async () => {
  bert = await Encoder.fromPretrained()
  reference = await bert.encode(sound)
})
afterAll(() => bert.dispose())

/** The call fails as it should, and the encoder works on. */
async function expectRefused(...[input, options, ...expected]: [unknown, object | undefined, ...(RegExp | string)[]]) {
  await expectFailure(() => bert.encode(untyped(input), options), 'ERR_INVALID_INPUT', ...expected)
  expect(sameBits((await bert.encode(sound)).data, reference.data)).toBe(true)
}

describe('inputs', () => {
  test.each([
    ['an empty array', [], /empty/],
    ['nothing', undefined, /text 0.*undefined/],
    ['null', null, /text 0.*null/],
    ['a number', 7, /text 0.*7.*\{ ids \}/],
    ['an array of ids', [101, 102], /text 0.*101.*\{ ids \}/],
    ['bare ids', Uint32Array.of(101), /text 0.*\{ ids \}/],
    ['an array of arrays', [['a', 'b']], /text 0.*\{ words \}/],
    ['holes', new Array(2), /text 0.*undefined/],
    ['a date', [new Date(0)], /text 0/],
    ['an empty object', {}, /text 0.*none of text, words and ids/],
    ['a promise', Promise.resolve('Hello'), /text 0.*not a Promise: await it/],
    ['two kinds at once', { text: 'a', ids: [1] }, /text 0.*text and ids/],
    ['a field that does not exist', { text: 'a', piar: 'b' }, /text 0.*'piar'.*'pair'/],
    ["Transformers' names", ['a', { input_ids: [1] }], /text 1.*'input_ids'.*'ids'/],
    ['a pair of words', { words: ['a'], pair: 'b' }, /pair/],
    ['type ids for a text', { text: 'a', typeIds: [0] }, /typeIds/],
    ['a text that is no string', { text: 1 }, /text 0.*1/],
    ['a pair that is no string', { text: 'a', pair: null }, /pair.*null/],
    ['no words', { words: [] }, /words is empty/],
    ['words in one string', { words: 'a b' }, /words.*array.*"a b"/],
    ['a word that is no string', { words: ['a', 1] }, /word 1.*1/],
  ])('%s', async (_, input, message) => {
    await expectRefused(input, undefined, message)
  })

  test('lone surrogates: which text, where', async () => {
    await expectRefused(['fine', 'cut \ud83d'], undefined, /text 1.*position 4/)
    await expectRefused('\ude00 cut', undefined, /text 0.*position 0/)
    await expectRefused({ text: '😀', pair: '😀\ud83d\ud83d\ude00' }, undefined, /text 0: pair.*position 2/)
    await expectRefused({ words: ['a', '\ud83d'] }, undefined, /word 1.*position 0/)
  })

  test('a text without a token', async () => {
    await expectRefused(['a', ''], { addSpecialTokens: false }, /text 1/)
  })

  test('a text over the limit: its length and the limit', async () => {
    await expectFailure(
      () => bert.encode(['short', 'word '.repeat(600)]),
      'ERR_TOO_MANY_TOKENS',
      /text 1/,
      /602/,
      /512/,
    )
    await expectFailure(() => bert.encode({ ids: new Uint32Array(513) }), 'ERR_TOO_MANY_TOKENS', /513/, /512/)
    const { texts } = await bert.encode('word '.repeat(510), { layers: 0 })
    expect(texts[0]?.ids.length).toBe(512)
  })
})

describe('ids', () => {
  test.each([
    ['fractional', [1, 2.5], /text 0.*position 1.*2\.5/],
    ['negative', [-1], /text 0.*whole numbers from 0 .*position 0.*-1/],
    ['NaN', [1, 2, Number.NaN], /text 0.*position 2.*NaN/],
    ['infinite', [Number.POSITIVE_INFINITY], /position 0.*Infinity/],
    ['beyond 32 bits, which must not wrap', [2 ** 32 + 1], /position 0.*4294967297/],
    ['a bigint', [101n], /position 0.*bigint 101n.*Number\(\)/],
    ['an object', [{}], /position 0.*an Object/],
    ['bigints', BigInt64Array.of(1n, 2n), /position 0.*bigint 1n/],
    ['a string', ['1'], /position 0.*"1"/],
    ['holes', new Array(2), /position 0.*undefined/],
    ['not an array', 7, /ids.*7/],
    ['none', [], /ids is empty/],
    ['out of the vocabulary', [101, 30522], /text 0.*30522/],
  ])('%s', async (_, ids, message) => {
    await expectRefused({ ids }, undefined, message)
  })

  test('type ids and masks', async () => {
    const ids = [101, 102]
    await expectRefused({ ids, typeIds: [0] }, undefined, /typeIds.*1.*2/)
    await expectRefused({ ids, typeIds: [0, 2] }, undefined, /text 0.*2/)
    await expectRefused({ ids, typeIds: [0, -1] }, undefined, /typeIds.*position 1/)
    await expectRefused({ ids, attentionMask: [1] }, undefined, /attentionMask.*1.*2/)
    await expectRefused({ ids, attentionMask: [1, 2] }, undefined, /attentionMask.*position 1.*2/)
    await expectRefused({ ids, attentionMask: [1, 0.5] }, undefined, /attentionMask.*position 1/)
    await expectRefused({ ids, attentionMask: 'no' }, undefined, /attentionMask/)
    await expectRefused({ ids, attentionMask: [0, 0] }, undefined, /text 0.*mask/)
  })

  test('ids that change under the call change nothing', async () => {
    const ids = Uint32Array.from(sound.ids)
    const encoding = bert.encode({ ids })
    ids.fill(0)
    expect(sameBits((await encoding).data, reference.data)).toBe(true)
  })

  test('to be named only', async () => {
    await expectFailure(() => bert.tokenize(['a', { ids: [101, 999_999] }]), 'ERR_INVALID_INPUT', /text 1/, /999999/)
    await expectFailure(() => bert.countTokens({ ids: [30522] }), 'ERR_INVALID_INPUT', /30522/)
  })

  test('to be decoded', async () => {
    await expectFailure(() => bert.decode([1.5]), 'ERR_INVALID_INPUT', /position 0.*1\.5/)
    await expectFailure(() => bert.decode([30522]), 'ERR_INVALID_INPUT', /30522/)
  })
})

describe('layers', () => {
  test.each([
    ['out of range', [7], /7.*6/],
    ['out of range from the end', -8, /-8/],
    ['beyond 32 bits', 2 ** 40, /1099511627776/],
    ['none', [], /empty/],
    ['repeated', [1, 2, 1], /1/],
    ['repeated under two names', [6, -1], /-1/],
    ['fractional', 1.5, /1\.5/],
    ['NaN', [Number.NaN], /NaN/],
    ['a word', 'last', /"last"/],
    ['a numeral', ['1'], /"1"/],
    ['null', null, /null/],
  ])('%s', async (_, layers, message) => {
    await expectRefused('a', { layers }, /layer/, message)
  })
})

describe('options', () => {
  test.each([
    [{ layer: 1 }, /'layer'.*'layers'.*addSpecialTokens/],
    [{ add_special_tokens: true }, /'addSpecialTokens'/],
    [{ zzz: 1 }, /'zzz' does not exist\. There are: layers/],
    [{ truncation: true }, /Did you mean 'overflow'/], // as other libraries have it
    [{ pooling: 'mean' }, /'pooling' does not exist.*There are/], // of embed, not of encode
    [{ addSpecialTokens: 'yes' }, /addSpecialTokens.*"yes"/],
    [{ pooler: 1 }, /pooler.*1/],
    [{ words: 'all' }, /words.*first.*"all"/],
    [{ overflow: 'cut' }, /overflow.*'truncate'.*"cut"/],
    [{ overflow: {} }, /overflow.*one of truncate, window and sample/],
    [{ overflow: { truncate: 'head', window: {} } }, /overflow.*one of truncate, window and sample/],
    [{ overflow: { truncate: 'middle' } }, /truncate.*head\+tail.*"middle"/],
    [{ overflow: { truncate: 'tail', head: 1 } }, /head goes with/],
    [{ overflow: { window: { sise: 1 } } }, /'sise'.*'size'/],
    [{ overflow: { window: { size: 0 } } }, /size.*1.*0/],
    [{ overflow: { window: { size: 513 } } }, /size.*512.*513/],
    [{ overflow: { window: { stride: 1.5 } } }, /stride.*1\.5/],
    [{ overflow: { window: { merge: 'max' } } }, /merge.*'center'.*"max"/],
    [{ overflow: { window: true } }, /window.*true/],
    [{ overflow: { sample: { windows: 2 } } }, /seed.*undefined/],
    [{ overflow: { sample: { windows: 0, seed: 1 } } }, /windows.*0/],
    [{ signal: {} }, /signal/],
  ])('of encode: %j', async (options, message) => {
    await expectRefused('a', options, message)
  })

  test.each([
    [{ dtpye: 'float32' }, /'dtpye'.*'dtype'/],
    [{ local_files_only: true }, /'localFilesOnly'/],
    [{ dtype: 'float64' }, /dtype.*float32.*"float64"/],
    [{ dtype: 'toString' }, /dtype/],
    [{ device: 'gpu' }, /device.*cuda:N.*"gpu"/],
    [{ device: 'cuda:x' }, /device/],
    [{ threads: 0 }, /threads.*0/],
    [{ threads: 1.5 }, /threads.*1\.5/],
    [{ revision: 1 }, /revision/],
    [{ cacheDir: '' }, /cacheDir/],
    [{ localFilesOnly: 'yes' }, /localFilesOnly/],
    ['cpu', /options.*"cpu"/],
    [null, /options.*null/],
  ])('of fromPretrained: %j', async (options, message) => {
    await expectFailure(() => Encoder.fromPretrained(undefined, options as object), 'ERR_INVALID_INPUT', message)
  })

  test('options where the model belongs', async () => {
    await expectFailure(
      () => Encoder.fromPretrained({ device: 'cpu' } as unknown as string),
      'ERR_INVALID_INPUT',
      /fromPretrained\(undefined, options\)/,
    )
  })

  test('names of transformers.js are taken, undefined is left out', async () => {
    await using encoder = await Encoder.fromPretrained(undefined, { dtype: 'fp32', device: 'cpu', threads: undefined })
    expect(encoder.dtype).toBe('float32')
    expect(encoder.device).toBe('cpu')
    await using int8 = await Encoder.fromPretrained(undefined, { dtype: 'q8' })
    await using bfloat16 = await Encoder.fromPretrained(undefined, { dtype: 'bf16' })
    expect([int8.dtype, bfloat16.dtype]).toEqual(['int8', 'bfloat16'])
    expect(new Set([encoder, int8, bfloat16].map(({ fingerprint }) => fingerprint)).size).toBe(3)
  })

  test('what a CPU cannot do is said', async () => {
    await expectFailure(
      () => Encoder.fromPretrained(undefined, { dtype: 'fp16', device: 'cpu' }),
      'ERR_DEVICE_UNAVAILABLE',
      /float16/,
    )
  })

  test('a pooler that is not there', async () => {
    await using tiny = await Encoder.fromPretrained(withoutPooler())
    await expectFailure(() => tiny.encode({ ids: [1] }, { pooler: true }), 'ERR_INVALID_INPUT', /pooler/)
    expect((await tiny.encode({ ids: [1] })).poolerOutput).toBeUndefined()
  })
})

describe('text without the files for it', () => {
  test('a folder without tokenizer takes ids only', async () => {
    await using tiny = await Encoder.fromPretrained(copyTinyModel(temporaryFolder()))
    for (const input of ['a', { words: ['a'] }]) {
      await expectFailure(() => tiny.encode(input), 'ERR_INVALID_INPUT', /tokenizer\.json/, /vocab\.txt/)
      await expectFailure(() => tiny.tokenize(input), 'ERR_INVALID_INPUT', /tokenizer\.json/)
    }
    await expectFailure(() => tiny.decode([1]), 'ERR_INVALID_INPUT', /tokenizer/)
    expect((await tiny.encode({ ids: [1] })).data.length).toBe(5 * 48)
  })

  test.each([
    [
      'a tokenizer.json that is not JSON',
      (folder: string) => writeFileSync(join(folder, 'tokenizer.json'), '{'),
      /tokenizer\.json/,
    ],
    [
      'a tokenizer.json of something else',
      (folder: string) => writeFileSync(join(folder, 'tokenizer.json'), '[]'),
      /tokenizer\.json/,
    ],
    [
      'an empty tokenizer.json',
      (folder: string) => writeFileSync(join(folder, 'tokenizer.json'), ''),
      /tokenizer\.json/,
    ],
    ['tokenizer.json with more ids than rows', (folder: string) => writeTokenizer(folder, manyWords()), /211/],
    ['vocab.txt with more ids than rows', (folder: string) => writeVocabulary(folder, manyWords()), /211/],
    ['an empty vocab.txt', (folder: string) => writeVocabulary(folder, []), /vocab\.txt/],
    ['a vocabulary without [UNK]', (folder: string) => writeVocabulary(folder, ['[PAD]', '[CLS]', '[SEP]']), /UNK/],
    ['a vocabulary without [CLS]', (folder: string) => writeVocabulary(folder, ['[PAD]', '[UNK]', '[SEP]']), /CLS/],
  ])('%s', async (_, damage, message) => {
    const folder = copyTinyModel(temporaryFolder())
    damage(folder)
    await expectFailure(() => Encoder.fromPretrained(folder), 'ERR_MODEL_INVALID', message)
  })
})

describe('more than there is memory for', () => {
  test('the bytes are told, and the process lives', async () => {
    const input = { ids: new Uint32Array(512).fill(7) }
    const inputs = Array.from({ length: 20_000 }, () => input)
    const bytes = 7 * 20_000 * 512 * 384 * 4
    await expectFailure(() => bert.encode(inputs), 'ERR_OUT_OF_MEMORY', String(bytes))
    expect(sameBits((await bert.encode(sound)).data, reference.data)).toBe(true)
  })
})

function manyWords(): string[] {
  return [...TINY_VOCABULARY, ...Array.from({ length: 300 }, (_, word) => `word${word}`)]
}

function withoutPooler(): string {
  const folder = copyTinyModel(temporaryFolder())
  dropTensors(folder, name => name.startsWith('pooler.'))
  return folder
}
