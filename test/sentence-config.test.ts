import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type EmbedOptions, Encoder } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { maxDifference } from './support/compare.ts'
import { expectFailure } from './support/errors.ts'
import { temporaryFolder } from './support/paths.ts'
import { reduced } from './support/reduce.ts'
import { copyTinyModel, TINY_VOCABULARY, writeTokenizer } from './support/tiny-model.ts'

const TEXTS = ['the river bank', 'play, hello world!']

/** The tiny model with files as sentence-transformers writes them; a string is written as it is. */
async function model(files: Record<string, unknown>): Promise<Encoder> {
  const folder = copyTinyModel(temporaryFolder())
  writeTokenizer(folder)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return Encoder.fromPretrained(folder)
}

function modules(...kinds: string[]) {
  const paths: Record<string, string> = { Transformer: '', Pooling: '1_Pooling' }
  return kinds.map((kind, idx) => ({
    idx,
    name: String(idx),
    path: paths[kind] ?? `${idx}_${kind}`,
    type: `sentence_transformers.models.${kind}`,
  }))
}

const POOLING = 'pooling_mode_'
const mode = (name: string) => ({
  '1_Pooling/config.json': { [`${POOLING}mean_tokens`]: false, [`${POOLING}${name}`]: true },
})

describe('pooling', () => {
  test.each([
    ['cls', mode('cls_token')],
    ['mean', mode('mean_tokens')],
    ['max', mode('max_tokens')],
    ['weightedmean', mode('weightedmean_tokens')],
    ['last', mode('lasttoken')],
    ['mean', { '1_Pooling/config.json': { word_embedding_dimension: 48 } }],
    ['last', { '1_Pooling/config.json': { pooling_mode: 'lasttoken' } }],
    ['cls', { '1_Pooling/config.json': { pooling_mode: ['cls'] } }],
  ] as const)('%s of the model: %j', async (pool, files) => {
    await using bert = await model({ 'modules.json': modules('Transformer', 'Pooling'), ...files })
    const [vectors, states] = await Promise.all([bert.embed(TEXTS), bert.encode(TEXTS, { layers: -1 })])
    expect(vectors.pooling).toEqual({ pool, source: 'model' })
    expect(vectors.normalized).toBe(false)
    for (const [text] of TEXTS.entries()) {
      const [expected] = reduced(states, text, { combine: 'none', pool })
      expect(maxDifference(vectors.get(text), expected!)).toBeLessThanOrEqual(1e-5)
    }
    const chosen = await bert.embed(TEXTS, { pool: 'max' })
    expect(chosen.pooling).toEqual({ pool: 'max', source: 'option' })
  })

  test('is the mean, and says that nobody chose it, where no file does', async () => {
    await using bert = await model({})
    expect((await bert.embed('the')).pooling).toEqual({ pool: 'mean', source: 'default' })
  })

  test('1_Pooling/config.json counts without modules.json', async () => {
    await using bert = await model(mode('cls_token'))
    expect((await bert.embed('the')).pooling).toEqual({ pool: 'cls', source: 'model' })
  })

  test('normalizes where the model does, unless told otherwise', async () => {
    await using bert = await model({
      'modules.json': modules('Transformer', 'Pooling', 'Normalize'),
      ...mode('cls_token'),
    })
    const unit = await bert.embed('the')
    expect(unit.normalized).toBe(true)
    expect(Math.hypot(...unit.get(0))).toBeCloseTo(1, 6)
    const plain = await bert.embed('the', { normalize: false })
    expect(Math.hypot(...plain.get(0))).toBeGreaterThan(1.01)
  })

  test.each([
    [{ 'modules.json': modules('Transformer', 'Pooling', 'Dense', 'Normalize') }, /Dense/],
    [{ 'modules.json': modules('Transformer', 'WeightedLayerPooling', 'Pooling') }, /WeightedLayerPooling/],
    [{ '1_Pooling/config.json': { pooling_mode: ['cls', 'max'] } }, /cls and max/],
    [mode('mean_sqrt_len_tokens'), /mean_sqrt_len_tokens.*Name a pool/],
  ])('that is not known is told, not guessed: %j', async (files, message) => {
    await using bert = await model(files)
    await expectFailure(() => bert.embed('the'), 'ERR_MODEL_UNSUPPORTED', message)
    expect((await bert.embed('the', { pool: 'mean' })).get(0).length).toBe(48)
  })

  test('lower case that the tokenizer does not make is told', async () => {
    const lower = { 'sentence_bert_config.json': { max_seq_length: 64, do_lower_case: true } }
    await using uncased = await model(lower)
    expect((await uncased.embed('THE')).get(0)).toEqual((await uncased.embed('the')).get(0))
    const cased = JSON.stringify({ do_lower_case: false })
    await using bert = await model({ ...lower, 'tokenizer_config.json': cased })
    await expectFailure(() => bert.embed('the'), 'ERR_MODEL_UNSUPPORTED', /do_lower_case/)
  })
})

describe('prompts', () => {
  const files = {
    'config_sentence_transformers.json': { prompts: { query: 'play: ', plain: '' }, default_prompt_name: 'query' },
  }

  test('the default one, one by name, one of the call, or none', async () => {
    await using bert = await model(files)
    const vector = async (text: string, options: EmbedOptions) => (await bert.embed(text, options)).get(0)
    const [prompted, plain] = [await vector('play: the bank', { prompt: '' }), await vector('the bank', { prompt: '' })]
    expect(await vector('the bank', {})).toEqual(prompted)
    expect(await vector('the bank', { promptName: 'query' })).toEqual(prompted)
    expect(await vector('the bank', { prompt: 'play: ' })).toEqual(prompted)
    expect(await vector('the bank', { promptName: 'plain' })).toEqual(plain)
    expect(prompted).not.toEqual(plain)
    await expectFailure(() => vector('the', { promptName: 'qery' }), 'ERR_INVALID_INPUT', /'query', 'plain'/)
    // Of a stream at once, before anything is read.
    const stream = () => bert.stream(['the'], { embed: { promptName: 'qery' } })
    expect(stream).toThrow(
      "this model has no prompt 'qery'; it has 'query', 'plain'. A text of your own goes in prompt",
    )
    await expectFailure(() => bert.embed({ words: ['the'] }), 'ERR_INVALID_INPUT', /"play: "/)
    expect((await bert.embed({ words: ['the'] }, { prompt: '' })).get(0)).toEqual(await vector('the', { prompt: '' }))
  })

  test('offsets and spans are into the text without it', async () => {
    await using bert = await model(files)
    const text = 'the 😀 bank'
    const vectors = await bert.embed({ text, spans: [[7, 11]] }, { normalize: false })
    const { tokens, offsets, sequenceIds } = vectors.texts[0]!
    const at = tokens.indexOf('bank')
    expect(tokens.slice(1, 3)).toEqual(['play', '[UNK]'])
    expect(offsets.slice(1, 3)).toEqual([
      [0, 0],
      [0, 0],
    ])
    expect(offsets.map(([start, end]) => text.slice(start, end))[at]).toBe('bank')
    expect(sequenceIds[at]).toBe(0)
    const states = await bert.encode(`play: ${text}`, { layers: -1 })
    expect(maxDifference(vectors.get(0, 0), states.token(-1, 0, at))).toBeLessThanOrEqual(1e-5)
  })

  test('may be left out of the pool', async () => {
    await using bert = await model({
      ...files,
      '1_Pooling/config.json': { pooling_mode: 'mean', include_prompt: false },
    })
    const vectors = await bert.embed('the bank')
    const states = await bert.encode('play: the bank', { layers: -1 })
    // [CLS] play : | the bank [SEP]
    const [expected] = reduced(states, 0, { combine: 'none', pool: 'mean' }, token => token >= 3)
    expect(maxDifference(vectors.get(0), expected!)).toBeLessThanOrEqual(1e-5)
  })
})

describe('max_seq_length', () => {
  const words = (count: number) => Array.from({ length: count }, (_, i) => TINY_VOCABULARY[5 + (i % 6)]).join(' ')

  test('is the limit of embed, not of encode', async () => {
    await using bert = await model({ 'sentence_bert_config.json': { max_seq_length: 20, do_lower_case: false } })
    const text = words(30)
    await expectFailure(
      () => bert.embed(text),
      'ERR_TOO_MANY_TOKENS',
      /32 tokens, 20 is the most.*max_seq_length.*maxTokens/,
    )
    expect((await bert.encode(text)).texts[0]!.ids.length).toBe(32)
    // As sentence-transformers does it.
    const cut = await bert.embed(text, { overflow: 'truncate' })
    expect(cut.texts[0]!.truncated).toBe(12)
    expect(cut.get(0)).toEqual((await bert.embed(words(18))).get(0))
    const whole = await bert.embed(text, { maxTokens: 80 })
    expect(whole.texts[0]!.ids.length).toBe(32)
    expect(whole.get(0)).toEqual((await bert.embed(text, { maxTokens: 32 })).get(0))
  })

  test('beyond the model is the model', async () => {
    await using bert = await model({ 'sentence_bert_config.json': { max_seq_length: 512 } })
    await expectFailure(() => bert.embed(words(100)), 'ERR_TOO_MANY_TOKENS', /80 is the most this model takes/)
  })
})

test.each([
  ['modules.json', '{'],
  ['modules.json', '{}'],
  ['modules.json', JSON.stringify([{ type: 'Pooling', path: '../1_Pooling' }])],
  ['1_Pooling/config.json', '[]'],
  ['1_Pooling/config.json', '{"pooling_mode": 7}'],
  ['sentence_bert_config.json', '{"max_seq_length": "long"}'],
  ['config_sentence_transformers.json', '{"prompts": []}'],
  ['config_sentence_transformers.json', '{"prompts": {"query": 7}}'],
  ['config_sentence_transformers.json', '{"default_prompt_name": "query"}'],
])('a damaged file is told: %s %s', async (name, content) => {
  await expectFailure(() => model({ [name]: content }), 'ERR_MODEL_INVALID', name)
})
