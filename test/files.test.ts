import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { convert, Encoder, inspect } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { expectFailure } from './support/errors.ts'
import { CLI, ROOT, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { copyTinyModel } from './support/tiny-model.ts'

/** The same weights in every format; scripts/make_format_fixtures.py says how they were made. */
const format = (name: string) => join(ROOT, 'test/fixtures/formats', name)
const ORIGINAL = join(ROOT, 'test/fixtures/goldens-extra/weights-masked-lm')

describe('every format', () => {
  test.each([
    ['pytorch-zip', 'pytorch'],
    ['pytorch-legacy', 'pytorch'],
    ['pytorch-sharded', 'pytorch'],
    ['flax', 'flax'],
    ['tensorflow', 'tensorflow'],
    ['tensorflow-keras', 'tensorflow'],
  ])('%s loads, and is the same model once converted', async (name, kind) => {
    const target = join(temporaryFolder(), 'model')
    const done = await convert(format(name), target)
    expect(done).toMatchObject({ format: kind, folder: target })
    expect(done.files).toContain('model.safetensors')
    await using original = await Encoder.fromPretrained(ORIGINAL)
    await using read = await Encoder.fromPretrained(format(name))
    await using converted = await Encoder.fromPretrained(target)
    const expected = (await original.encode({ ids: [5, 6, 7] })).data
    expect((await read.encode({ ids: [5, 6, 7] })).data).toEqual(expected)
    expect((await converted.encode({ ids: [5, 6, 7] })).data).toEqual(expected)
  })
})

/** Task checkpoints; scripts/make_family_format_fixtures.py says how they were made. */
const FAMILIES = join(ROOT, 'test/fixtures/formats-families')

test.each(readdirSync(FAMILIES))('%s in Flax and TensorFlow is, converted, what it was made of', async name => {
  await using original = await Encoder.fromPretrained(join(ROOT, 'test/fixtures/goldens-families', name))
  const expected = await inspect(join(ROOT, 'test/fixtures/goldens-families', name))
  const made = readdirSync(join(FAMILIES, name))
  expect(made.length).toBeGreaterThan(0)
  for (const kind of made) {
    const target = join(temporaryFolder(), 'model')
    const { tensors } = await convert(join(FAMILIES, name, kind), target)
    await using converted = await Encoder.fromPretrained(target)
    // TFMPNet has a pooler always, with weights of its own where the checkpoint has none.
    const ownPooler = kind === 'tensorflow' && name.startsWith('mpnet-')
    expect(converted.fingerprint === original.fingerprint, kind).toBe(!ownPooler)
    expect((await converted.encode({ ids: [5, 6, 7] })).data).toEqual((await original.encode({ ids: [5, 6, 7] })).data)
    const { parameters, hasPooler, notices, weights } = await inspect(target)
    expect(hasPooler).toBe(expected.hasPooler || ownPooler)
    if (!ownPooler) expect(parameters).toBe(expected.parameters)
    expect(weights[0]?.tensors).toBe(tensors)
    expect(notices.filter(notice => !/tokenizer/.test(notice))).toEqual([])
  }
})

describe('two formats in one folder', () => {
  test('that disagree: safetensors wins, and a warning says so once', async () => {
    const folder = copyTinyModel(temporaryFolder())
    cpSync(join(format('flax'), 'flax_model.msgpack'), join(folder, 'flax_model.msgpack'))
    const script = `
      import { Encoder } from 'bert-layers'
      for (let i = 0; i < 2; i++) await (await Encoder.fromPretrained(${JSON.stringify(folder)})).dispose()`
    const { code, stderr } = await runNode(['--input-type=module', '-e', script])
    expect(code).toBe(0)
    expect(stderr.match(/BertLayersWarning/g)).toHaveLength(1)
    expect(stderr).toMatch(
      /model\.safetensors is read; .*flax_model\.msgpack beside it is left aside, and is not of the same model: '.*' is/,
    )
  })

  test('that agree, and one that cannot be read, are nothing to warn of', async () => {
    const folder = temporaryFolder()
    for (const file of ['config.json', 'model.safetensors']) cpSync(join(ORIGINAL, file), join(folder, file))
    cpSync(join(format('flax'), 'flax_model.msgpack'), join(folder, 'flax_model.msgpack'))
    writeFileSync(join(folder, 'pytorch_model.bin'), 'no weights at all')
    const script = `
      import { Encoder } from 'bert-layers'
      await (await Encoder.fromPretrained(${JSON.stringify(folder)})).dispose()`
    expect(await runNode(['--input-type=module', '-e', script])).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('inspect', () => {
  test('says what the default model is', async () => {
    const seen = await inspect()
    expect(seen).toMatchObject({
      modelType: 'bert',
      config: { modelType: 'bert', numLayers: 6, hiddenSize: 384, numHeads: 12, vocabSize: 30522, maxTokens: 512 },
      weights: [{ format: 'safetensors', file: 'model.safetensors', dtypes: { F16: 22713216 } }],
      parameters: 22713216,
      heads: [],
      hasPooler: true,
      pooling: 'mean',
      tokenizer: { file: 'tokenizer.json', kind: 'WordPiece', tokens: 30522 },
      notices: [],
    })
    expect(seen.poolingFiles).toContain('1_Pooling/config.json')
    expect(seen.memory.float32).toBe(4 * 22713216)
    await using bert = await Encoder.fromPretrained()
    expect(seen.config).toEqual(bert.config)
    expect(await inspect('all-minilm-l6-v2')).toEqual(seen)
  })

  test('says which format is read', async () => {
    const folder = copyTinyModel(temporaryFolder())
    cpSync(join(format('flax'), 'flax_model.msgpack'), join(folder, 'flax_model.msgpack'))
    const { weights, notices } = await inspect(folder)
    expect(weights.map(({ format }) => format)).toEqual(['safetensors', 'flax'])
    expect(notices.join()).toMatch(/model\.safetensors is read; flax_model\.msgpack.*left aside.*not of the same model/)
    const file = await inspect(join(folder, 'flax_model.msgpack'))
    expect(file.weights.map(({ format }) => format)).toEqual(['flax'])
  })

  test('shows a model that cannot be loaded', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'config.json'), '{"model_type":"gpt2"}')
    cpSync(join(format('flax'), 'flax_model.msgpack'), join(folder, 'flax_model.msgpack'))
    const seen = await inspect(folder)
    expect(seen).toMatchObject({ modelType: 'gpt2', config: undefined, memory: {} })
    expect(seen.notices.join()).toMatch(/gpt2.*not supported/)
  })

  test('of nothing is an error, as is an option that does not exist', async () => {
    await expectFailure(() => inspect('./no/such/model'), 'ERR_MODEL_NOT_FOUND', /no\/such\/model/)
    await expectFailure(() => inspect(temporaryFolder()), 'ERR_MODEL_NOT_FOUND', /config\.json/)
    // @ts-expect-error: no such option
    await expectFailure(() => inspect(ORIGINAL, { dtype: 'float32' }), 'ERR_INVALID_INPUT', /dtype/)
    await expect(inspect(ORIGINAL, { signal: AbortSignal.abort('enough') })).rejects.toBe('enough')
  })
})

describe('convert', () => {
  test('narrows to a type', async () => {
    const target = join(temporaryFolder(), 'model')
    const { bytes } = await convert(format('flax'), target, { dtype: 'bf16' })
    const { weights, parameters, headParameters } = await inspect(target)
    expect(weights[0]?.dtypes).toEqual({ BF16: parameters + headParameters })
    expect(bytes).toBe(2 * (parameters + headParameters))
  })

  test('replaces nothing without force', async () => {
    const target = temporaryFolder()
    writeFileSync(join(target, 'model.safetensors'), 'mine')
    await expectFailure(() => convert(format('flax'), target), 'ERR_INVALID_INPUT', /has files already/, target)
    expect(readFileSync(join(target, 'model.safetensors'), 'utf8')).toBe('mine')
    await convert(format('flax'), target, { force: true })
    expect(readdirSync(target)).toEqual(['config.json', 'model.safetensors'])
  })

  test('aborted, leaves nothing', async () => {
    const folder = temporaryFolder()
    const signal = AbortSignal.abort('enough')
    await expect(convert(format('flax'), join(folder, 'model'), { signal })).rejects.toBe('enough')
    expect(readdirSync(folder)).toEqual([])
  })

  test('wrong arguments are errors', async () => {
    const target = join(temporaryFolder(), 'model')
    // @ts-expect-error: made when a model is loaded
    await expectFailure(() => convert(ORIGINAL, target, { dtype: 'int8' }), 'ERR_INVALID_INPUT', /int8/)
    // @ts-expect-error: no such option
    await expectFailure(() => convert(ORIGINAL, target, { layers: 1 }), 'ERR_INVALID_INPUT', /layers/)
    await expectFailure(() => convert(ORIGINAL, ''), 'ERR_INVALID_INPUT', /target/)
    await expectFailure(() => convert('./no/such/model', target), 'ERR_MODEL_NOT_FOUND', /no\/such\/model/)
    await expectFailure(() => convert(ORIGINAL, '/proc/no/model'), 'ERR_INVALID_INPUT', /cannot write/)
  })
})

describe('on the command line', () => {
  test('inspect shows what there is to know', async () => {
    const { code, stdout, stderr } = await runNode([CLI, 'inspect', format('tensorflow')])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const line of [
      /family +bert/,
      /layers +2, numbered 0/,
      /hidden size +24, 3 heads/,
      /left aside .* in cls\.predictions/,
      /weights +tensorflow: bert_model\.ckpt\.index, .* MB, \d+ tensors, F32/,
      /tokenizer +WordPiece, \d+ tokens, from vocab\.txt/,
      /memory +float32 .* MB, bfloat16 .* MB, int8 .* MB/,
      /instructions +\w+/,
      /notices +.*bert_config\.json/,
    ]) {
      expect(stdout).toMatch(line)
    }
    const json = await runNode([CLI, 'inspect', format('tensorflow'), '--format', 'json'])
    expect(JSON.parse(json.stdout)).toEqual(JSON.parse(JSON.stringify(await inspect(format('tensorflow')))))
  })

  test('convert writes, and says what', async () => {
    const target = join(temporaryFolder(), 'model')
    const args = [CLI, 'convert', format('pytorch-zip'), target, '--dtype', 'float16']
    const { code, stdout, stderr } = await runNode(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /\d+ tensors, .* MB, from pytorch .*pytorch_model\.bin\n {2}config\.json\n {2}model\.safetensors\n$/,
    )
    const again = await runNode(args)
    expect({ code: again.code, stdout: again.stdout }).toEqual({ code: 1, stdout: '' })
    expect(again.stderr).toMatch(/^ERR_INVALID_INPUT: .*has files already/)
    expect((await runNode([...args, '--force'])).code).toBe(0)
  })

  test.each([
    [['inspect', 'a', 'b'], /one model/],
    [['inspect', 'a', '--format', 'npy'], /--format.*text, json.*'npy'/],
    [['inspect', 'a', '--layers', '1'], /inspect has no option --layers/],
    [['convert', 'a'], /folder to write/],
    [['convert', 'a', 'b', 'c'], /folder to write/],
    [['convert', 'a', 'b', '--dtype', 'int8'], /--dtype/],
    [['convert', 'a', 'b', '--dtype', 'f8'], /--dtype.*"f8"/],
    [['convert', 'a', 'b', '--format', 'json'], /convert has no option --format/],
    [['encode', 'a', '--force'], /--force is of convert/],
    [['embed', 'a', '--force'], /--force is of convert/],
    [['tokenize', 'a', '--force'], /tokenize has no option --force/],
  ])('2 for wrong usage: %j', async (args, message) => {
    const { code, stdout, stderr } = await runNode([CLI, ...args])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
  })
})

describe('tokenizers', () => {
  test('a folder with a sentencepiece model only says how to get a tokenizer.json', async () => {
    const folder = copyTinyModel(temporaryFolder())
    writeFileSync(join(folder, 'sentencepiece.bpe.model'), 'x')
    await using bert = await Encoder.fromPretrained(folder)
    await expectFailure(
      () => bert.encode('a'),
      'ERR_INVALID_INPUT',
      /sentencepiece\.bpe\.model/,
      /save_pretrained/,
      /tokenizer\.json/,
    )
    expect((await inspect(folder)).notices.join()).toMatch(/sentencepiece\.bpe\.model/)
  })

  test('half a byte-level vocabulary says what is missing', async () => {
    const folder = copyTinyModel(temporaryFolder())
    writeFileSync(join(folder, 'vocab.json'), '{}')
    await using bert = await Encoder.fromPretrained(folder)
    await expectFailure(() => bert.encode('a'), 'ERR_INVALID_INPUT', /lacks merges\.txt/)
  })

  test('a byte-level vocabulary that contradicts itself is invalid', async () => {
    const folder = copyTinyModel(temporaryFolder())
    const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, '<mask>': 4, a: 5, b: 6 }
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify(vocab))
    for (const [merges, message] of [
      ['a b\n', /merges\.txt/], // to "ab", which has no id
      ['a\n', /two pieces/],
      ['a c\n', /merges\.txt/],
    ] as const) {
      writeFileSync(join(folder, 'merges.txt'), merges)
      await expectFailure(() => Encoder.fromPretrained(folder), 'ERR_MODEL_INVALID', message)
    }
    writeFileSync(join(folder, 'merges.txt'), '')
    for (const text of ['', '[]', '{"a":-1}', '{"a":"b"}', '{"a":1}']) {
      writeFileSync(join(folder, 'vocab.json'), text)
      await expectFailure(() => Encoder.fromPretrained(folder), 'ERR_MODEL_INVALID', /vocab\.json/)
    }
  })
})
