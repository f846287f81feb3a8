/** The goldens' models (test/fixtures) at other sizes, with random weights: same tensors, same number of layers. */
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const GOLDENS = join(dirname(fileURLToPath(import.meta.url)), '../test/fixtures/goldens')

/** Those of bert-base, with a small vocabulary. */
export const BASE = {
  hidden: 768,
  heads: 12,
  intermediate: 3072,
  vocabulary: 1000,
  positions: 514,
  /** Where tables are narrower than the blocks. */
  embedding: 128,
  /** DeBERTa's. */
  buckets: 256,
  /** ModernBERT's. */
  window: 128,
}

function read(family, file) {
  return readFileSync(join(GOLDENS, family, file))
}

export function resizedConfig(family, sizes) {
  const named = {
    hidden_size: sizes.hidden,
    dim: sizes.hidden,
    pooler_hidden_size: sizes.hidden,
    head_dim: sizes.hidden / sizes.heads,
    num_attention_heads: sizes.heads,
    n_heads: sizes.heads,
    intermediate_size: sizes.intermediate,
    hidden_dim: sizes.intermediate,
    vocab_size: sizes.vocabulary,
    max_position_embeddings: sizes.positions,
    embedding_size: sizes.embedding,
    position_buckets: sizes.buckets,
    local_attention: sizes.window,
  }
  const config = JSON.parse(read(family, 'config.json').toString())
  return Object.fromEntries(
    Object.entries(config).map(([field, value]) => [
      field,
      typeof value === 'number' ? (named[field] ?? value) : value,
    ]),
  )
}

/** Each tensor's name and shape. Every size of the goldens means one thing, but for 32. */
export function resizedShapes(family, sizes) {
  const { hidden, intermediate } = sizes
  const meant = {
    48: hidden,
    144: 3 * hidden,
    112: intermediate,
    224: 2 * intermediate,
    211: sizes.vocabulary,
    80: sizes.positions,
    24: sizes.embedding,
    ...(family === 'electra' && { 32: sizes.embedding }),
    ...(family === 'deberta-v2' && { 32: 2 * sizes.buckets }),
    ...(family === 'mpnet' && { 4: sizes.heads }),
  }
  const bytes = read(family, 'model.safetensors')
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString())
  const tensors = Object.entries(header).filter(([name]) => name !== '__metadata__')
  return tensors.map(([name, { shape }]) => ({ name, shape: shape.map(size => meant[size] ?? size) }))
}

/** Writes the model to a folder, config.json last. */
export function makeResized(family, sizes, folder) {
  mkdirSync(folder, { recursive: true })
  const tensors = resizedShapes(family, sizes).map(tensor => ({
    ...tensor,
    count: tensor.shape.reduce((a, b) => a * b, 1),
  }))
  const header = {}
  let offset = 0
  for (const { name, shape, count } of tensors) {
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, offset + 2 * count] }
    offset += 2 * count
  }
  const text = JSON.stringify(header)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const partial = join(folder, 'model.safetensors.partial')
  const file = openSync(partial, 'w')
  writeSync(file, length)
  writeSync(file, text)
  const float = new Float32Array(1)
  const bits = new Uint32Array(float.buffer)
  let state = 1
  for (const { name, shape, count } of tensors) {
    // Uniform, with the spread of trained weights: inputs of a layer keep their size, and nothing becomes subnormal.
    const spread = shape.length === 1 ? 0.1 : 1.4 / Math.sqrt(shape[1] / 3)
    const centre = shape.length === 1 && /norm.*weight$/i.test(name) ? 1 : 0
    const values = new Uint16Array(count)
    for (let i = 0; i < count; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0
      float[0] = centre + (state / 2 ** 31) * spread
      values[i] = bits[0] >>> 16 // bfloat16
    }
    writeSync(file, new Uint8Array(values.buffer))
  }
  closeSync(file)
  renameSync(partial, join(folder, 'model.safetensors'))
  writeFileSync(join(folder, 'config.json'), JSON.stringify(resizedConfig(family, sizes), null, 1))
}
