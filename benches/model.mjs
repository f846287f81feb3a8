/** A model of bert-base's size for the benches: the real one if it was fetched, else random weights (made once, 440 MB). */
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CONFIG = {
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

export function bertBase() {
  const real = join(process.env.BERT_MODELS ?? join(homedir(), '.cache', 'bert-models'), 'bert-base-uncased')
  if (existsSync(join(real, 'config.json'))) return real
  const made = join(dirname(fileURLToPath(import.meta.url)), '..', '.bench', 'bert-base-random')
  if (!existsSync(join(made, 'config.json'))) make(made)
  return made
}

function shapes() {
  const { hidden_size: h, intermediate_size: m } = CONFIG
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
    'embeddings.word_embeddings.weight': [CONFIG.vocab_size, h],
    'embeddings.position_embeddings.weight': [CONFIG.max_position_embeddings, h],
    'embeddings.token_type_embeddings.weight': [CONFIG.type_vocab_size, h],
    ...norm('embeddings'),
    ...Object.assign({}, ...Array.from({ length: CONFIG.num_hidden_layers }, (_, k) => layer(`encoder.layer.${k}`))),
    ...linear('pooler.dense', h, h),
  }
}

function make(folder) {
  console.error(`making a random model of bert-base's size in ${folder}`)
  mkdirSync(folder, { recursive: true })
  const header = {}
  let offset = 0
  const tensors = Object.entries(shapes()).map(([name, shape]) => {
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
  writeFileSync(join(folder, 'config.json'), JSON.stringify(CONFIG, null, 1)) // last: it says that the folder is whole
}

/** 32 texts of 128 ids, always the same. */
export function batch(texts = 32, length = 128) {
  return Array.from({ length: texts }, (_, t) => ({
    ids: Uint32Array.from({ length }, (_, i) =>
      i === 0 ? 101 : i === length - 1 ? 102 : 1000 + ((t * 7919 + i * 104729) % 28000),
    ),
  }))
}
