import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Encoder } from 'bert-layers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ErrorCode } from '../index.d.ts'
import { expectFailure } from './support/errors.ts'
import { temporaryFolder } from './support/paths.ts'
import { formatSafetensors, parseSafetensors, readSafetensors, type TensorEntry } from './support/safetensors.ts'
import { copyTinyModel, dropTensors, editConfig } from './support/tiny-model.ts'
import { runs } from './support/verify.ts'

type Damage = (folder: string) => void

async function expectDamaged(damage: Damage, code: ErrorCode, ...patterns: (RegExp | string)[]): Promise<void> {
  const folder = copyTinyModel(temporaryFolder())
  damage(folder)
  await expectFailure(() => Encoder.fromPretrained(folder), code, ...patterns)
}

describe('where a model is looked for', () => {
  test('a folder that is not there', async () => {
    await expectFailure(() => Encoder.fromPretrained('./no/such/folder'), 'ERR_MODEL_NOT_FOUND', 'no/such/folder')
  })

  test('a name that nothing has: the error says where it looked', async () => {
    const cacheDir = temporaryFolder()
    await expectFailure(
      () => Encoder.fromPretrained('nobody/nothing', { cacheDir }),
      'ERR_MODEL_NOT_FOUND',
      cacheDir,
      /nobody/,
    )
    await expectFailure(
      () => Encoder.fromPretrained('no-such-model', { cacheDir }),
      'ERR_MODEL_NOT_FOUND',
      /no-such-model/,
    )
  })

  test('an empty name', async () => {
    await expectFailure(() => Encoder.fromPretrained(''), 'ERR_MODEL_NOT_FOUND', /name/)
  })

  test('an empty folder', async () => {
    await expectFailure(() => Encoder.fromPretrained(temporaryFolder()), 'ERR_MODEL_NOT_FOUND', /config\.json/)
  })

  test('an installed package, by its short name', async () => {
    await using bert = await Encoder.fromPretrained('all-MiniLM-L6-v2', { cacheDir: temporaryFolder() })
    await using byDefault = await Encoder.fromPretrained()
    expect(bert.fingerprint).toBe(byDefault.fingerprint)
    expect(bert.config).toEqual({
      modelType: 'bert',
      numLayers: 6,
      hiddenSize: 384,
      numHeads: 12,
      vocabSize: 30522,
      maxTokens: 512,
    })
  })
})

describe('config.json', () => {
  test('is missing', async () => {
    await expectDamaged(folder => rmSync(join(folder, 'config.json')), 'ERR_MODEL_NOT_FOUND', /config\.json/)
  })

  test.each(['', '{', 'null', '[]', '"bert"', '\0'])('is %j', async text => {
    await expectDamaged(folder => writeFileSync(join(folder, 'config.json'), text), 'ERR_MODEL_INVALID', /config\.json/)
  })

  test.each([
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
    'vocab_size',
    'max_position_embeddings',
  ])('lacks %s', async field => {
    await expectDamaged(folder => editConfig(folder, { [field]: undefined }), 'ERR_MODEL_INVALID', field)
  })

  test.each([
    ['hidden_size', 'large'],
    ['hidden_size', -48],
    ['hidden_size', 0],
    ['num_hidden_layers', 1.5],
    ['num_hidden_layers', 2 ** 53],
    ['vocab_size', null],
    ['layer_norm_eps', 'tiny'],
  ])('has %s %j', async (field, value) => {
    await expectDamaged(folder => editConfig(folder, { [field]: value }), 'ERR_MODEL_INVALID', field)
  })

  test('has heads that do not divide the hidden size', async () => {
    await expectDamaged(folder => editConfig(folder, { num_attention_heads: 5 }), 'ERR_MODEL_INVALID', /48/, /5/)
  })

  test.each([
    [{ model_type: 't5' }, /t5/],
    [{ hidden_act: 'no-such-act' }, /no-such-act/],
    [{ position_embedding_type: 'relative_key' }, /relative_key/],
    [{ is_decoder: true }, /is_decoder/],
  ])('asks for what is not supported: %j', async (changes, message) => {
    await expectDamaged(folder => editConfig(folder, changes), 'ERR_MODEL_UNSUPPORTED', message)
  })

  test('names no family', async () => {
    await expectDamaged(folder => editConfig(folder, { model_type: undefined }), 'ERR_MODEL_INVALID', /model_type/)
  })
})

describe('model.safetensors', () => {
  const EMBEDDING = 'embeddings.word_embeddings.weight'
  const file = (folder: string) => join(folder, 'model.safetensors')

  /** Rewrites the header, and the data where a change returns it. */
  function edit(change: (header: Record<string, TensorEntry>, data: Buffer) => Buffer | undefined): Damage {
    return folder => {
      const { header, data } = parseSafetensors(readFileSync(file(folder)))
      const changed = change(header, data)
      writeFileSync(file(folder), formatSafetensors(header, changed ?? data))
    }
  }

  test('is missing', async () => {
    await expectDamaged(folder => rmSync(file(folder)), 'ERR_MODEL_NOT_FOUND', /model\.safetensors/)
  })

  test('is missing, and a format that is not read is there', async () => {
    await expectDamaged(
      folder => renameSync(file(folder), join(folder, 'tf_model.h5')),
      'ERR_MODEL_UNSUPPORTED',
      /tf_model\.h5/,
      /save_pretrained/,
    )
  })

  test('is missing, and what is under the name of another format is none', async () => {
    await expectDamaged(
      folder => renameSync(file(folder), join(folder, 'pytorch_model.bin')),
      'ERR_MODEL_INVALID',
      /pytorch_model\.bin/,
      /no PyTorch checkpoint/,
    )
  })

  test('cut at any byte', async () => {
    const whole = readFileSync(file(copyTinyModel(temporaryFolder()))).length
    const positions = fc.oneof(fc.integer({ min: 0, max: 16 }), fc.integer({ min: 0, max: whole - 1 }))
    await fc.assert(
      fc.asyncProperty(positions, length =>
        expectDamaged(folder => truncateSync(file(folder), length), 'ERR_MODEL_INVALID', /model\.safetensors/),
      ),
      runs(30),
    )
  })

  test('a header that is longer than the file', async () => {
    await expectDamaged(
      folder =>
        writeFileSync(file(folder), Buffer.concat([Buffer.alloc(7, 255), Buffer.from([127]), Buffer.from('{}')])),
      'ERR_MODEL_INVALID',
      /model\.safetensors/,
    )
  })

  test.each<[string, Damage, RegExp]>([
    ['overlapping tensors', edit(header => overlap(header)), /model\.safetensors/],
    ['offsets beyond the end', edit(header => move(header, 1 << 30)), /model\.safetensors/],
    ['offsets that go backwards', edit(header => void header[EMBEDDING]!.data_offsets.reverse()), /model\.safetensors/],
    ['negative offsets', edit(header => move(header, -(1 << 30))), /model\.safetensors/],
    ['a missing tensor', edit(header => rename(header, EMBEDDING, 'other')), /embeddings\.word_embeddings\.weight/],
    ['a wrong shape', edit(header => void header[EMBEDDING]!.shape.reverse()), /embeddings\.word_embeddings\.weight/],
    ['a shape that is not its size', edit(header => void header[EMBEDDING]!.shape.push(2)), /model\.safetensors/],
    ['a dtype that is not understood', edit(header => retype(header, 'Q4')), /Q4|model\.safetensors/],
    ['integers for weights', edit(header => retype(header, 'I32')), /I32/],
    ['NaN weights', edit((_, data) => poison(data, Number.NaN)), /NaN|finite/],
    ['infinite weights', edit((_, data) => poison(data, Number.POSITIVE_INFINITY)), /inf|finite/i],
    [
      'a header that is not JSON',
      folder => writeFileSync(file(folder), formatSafetensors('{"a":', Buffer.alloc(8))),
      /model\.safetensors/,
    ],
    ['no tensors', folder => writeFileSync(file(folder), formatSafetensors({}, Buffer.alloc(0))), /embeddings/],
  ])('%s', async (_, damage, message) => {
    await expectDamaged(damage, 'ERR_MODEL_INVALID', message)
  })

  function overlap(header: Record<string, TensorEntry>): undefined {
    const [first, second] = Object.values(header).sort((a, b) => a.data_offsets[0] - b.data_offsets[0])
    const size = second!.data_offsets[1] - second!.data_offsets[0]
    second!.data_offsets = [first!.data_offsets[0], first!.data_offsets[0] + size]
  }

  function move(header: Record<string, TensorEntry>, by: number): undefined {
    const [start, end] = header[EMBEDDING]!.data_offsets
    header[EMBEDDING]!.data_offsets = [start + by, end + by]
  }

  function retype(header: Record<string, TensorEntry>, dtype: string): undefined {
    header[EMBEDDING]!.dtype = dtype
  }

  function rename(header: Record<string, TensorEntry>, from: string, to: string): undefined {
    header[to] = header[from]!
    delete header[from]
  }

  function poison(data: Buffer, value: number): Buffer {
    const poisoned = Buffer.from(data)
    poisoned.writeFloatLE(value, Math.floor(data.length / 8) * 4)
    return poisoned
  }
})

describe('sharded weights', () => {
  const index = (folder: string) => join(folder, 'model.safetensors.index.json')

  /** Two files and an index, as Transformers writes large models. */
  function shard(folder: string): void {
    const file = join(folder, 'model.safetensors')
    const whole = readFileSync(file)
    const inFirst = (name: string) => name.startsWith('embeddings.')
    const weight_map: Record<string, string> = {}
    for (const [shard, drop] of [(name: string) => !inFirst(name), inFirst].entries()) {
      writeFileSync(file, whole)
      dropTensors(folder, drop)
      const name = `model-0000${shard + 1}-of-00002.safetensors`
      for (const tensor of Object.keys(readSafetensors(file).header)) weight_map[tensor] = name
      renameSync(file, join(folder, name))
    }
    writeFileSync(index(folder), JSON.stringify({ metadata: {}, weight_map }))
  }

  test('are the same model', async () => {
    const folder = copyTinyModel(temporaryFolder())
    shard(folder)
    await using sharded = await Encoder.fromPretrained(folder)
    await using whole = await Encoder.fromPretrained(copyTinyModel(temporaryFolder()))
    expect((await sharded.encode({ ids: [1, 2] })).data).toEqual((await whole.encode({ ids: [1, 2] })).data)
  })

  test.each<[string, Damage, RegExp]>([
    ['a shard is missing', folder => rmSync(join(folder, 'model-00002-of-00002.safetensors')), /00002-of-00002/],
    ['the index is not JSON', folder => writeFileSync(index(folder), '{'), /index\.json/],
    ['the index has no map', folder => writeFileSync(index(folder), '{}'), /weight_map/],
    [
      'the index leaves the folder',
      folder => writeFileSync(index(folder), '{"weight_map":{"a":"../a"}}'),
      /index\.json/,
    ],
  ])('%s', async (_, damage, message) => {
    await expectDamaged(
      folder => {
        shard(folder)
        damage(folder)
      },
      'ERR_MODEL_INVALID',
      message,
    )
  })
})
