/** Models for the benches: bert-base, the real one if it was fetched, and random weights of other sizes, made once in .bench. */
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const BASE = {
  model_type: 'bert',
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  max_position_embeddings: 512,
  type_vocab_size: 2,
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
}

/** 24 layers of 1024: 1.3 GB. */
const LARGE = { ...BASE, hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 }

export function bertBase() {
  const real = join(process.env.BERT_MODELS ?? join(homedir(), '.cache', 'bert-models'), 'bert-base-uncased')
  return existsSync(join(real, 'config.json')) ? real : random('bert-base', BASE)
}

export function bertLarge() {
  return random('bert-large', LARGE)
}

function random(name, config) {
  const folder = join(dirname(fileURLToPath(import.meta.url)), '..', '.bench', `${name}-random`)
  if (!existsSync(join(folder, 'config.json'))) make(folder, config)
  return folder
}

function shapes(config) {
  const { hidden_size: h, intermediate_size: m } = config
  const linear = (name, rows, columns) => ({ [`${name}.weight`]: [rows, columns], [`${name}.bias`]: [rows] })
  const norm = name => ({ [`${name}.LayerNorm.weight`]: [h], [`${name}.LayerNorm.bias`]: [h] })
  const layer = name => ({
    ...linear(`${name}.attention.self.query`, h, h),
    ...linear(`${name}.attention.self.key`, h, h),
    ...linear(`${name}.attention.self.value`, h, h),
    ...linear(`${name}.attention.output.dense`, h, h),
    ...norm(`${name}.attention.output`),
    ...linear(`${name}.intermediate.dense`, m, h),
    ...linear(`${name}.output.dense`, h, m),
    ...norm(`${name}.output`),
  })
  return {
    'embeddings.word_embeddings.weight': [config.vocab_size, h],
    'embeddings.position_embeddings.weight': [config.max_position_embeddings, h],
    'embeddings.token_type_embeddings.weight': [config.type_vocab_size, h],
    ...norm('embeddings'),
    ...Object.assign({}, ...Array.from({ length: config.num_hidden_layers }, (_, k) => layer(`encoder.layer.${k}`))),
    ...linear('pooler.dense', h, h),
  }
}

function make(folder, config) {
  console.error(`making random weights in ${folder}`)
  mkdirSync(folder, { recursive: true })
  const header = {}
  let offset = 0
  const tensors = Object.entries(shapes(config)).map(([name, shape]) => {
    const count = shape.reduce((a, b) => a * b, 1)
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + 4 * count] }
    offset += 4 * count
    return { name, shape, count }
  })
  let text = JSON.stringify(header)
  text += ' '.repeat((8 - (text.length % 8)) % 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))

  const partial = join(folder, 'model.safetensors.partial')
  const file = openSync(partial, 'w')
  writeSync(file, length)
  writeSync(file, text)
  let state = 1
  for (const { name, shape, count } of tensors) {
    // Uniform, with the spread of trained weights: inputs of a layer keep their size, and nothing becomes subnormal.
    const spread = shape.length === 1 ? 0.1 : 1.4 / Math.sqrt(shape[1] / 3)
    const centre = name.endsWith('LayerNorm.weight') ? 1 : 0
    const values = new Float32Array(count)
    for (let i = 0; i < count; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0
      values[i] = centre + (state / 2 ** 31) * spread
    }
    writeSync(file, new Uint8Array(values.buffer))
  }
  closeSync(file)
  renameSync(partial, join(folder, 'model.safetensors'))
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config, null, 1)) // last: it says that the folder is whole
}

/** Texts of ids, always the same. */
export function batch(texts = 32, length = 128) {
  return Array.from({ length: texts }, (_, t) => ({
    ids: Uint32Array.from({ length }, (_, i) =>
      i === 0 ? 101 : i === length - 1 ? 102 : 1000 + ((t * 7919 + i * 104729) % 28000),
    ),
  }))
}
