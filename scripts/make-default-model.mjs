#!/usr/bin/env node
/**
 * Writes models/all-minilm-l6-v2/ from the original float32 model: the same tensors under the same names in float16,
 * and the small files beside them as they are.
 *
 *     node scripts/make-default-model.mjs [SOURCE]
 *
 * SOURCE is a folder in Hugging Face layout; by default $BERT_MODELS/all-minilm-l6-v2, else ~/.cache/bert-models/all-minilm-l6-v2.
 * The output depends on the source only: running it twice gives the same bytes.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NAME = 'all-minilm-l6-v2'
const SOURCE = process.argv[2] ?? join(process.env.BERT_MODELS ?? join(homedir(), '.cache', 'bert-models'), NAME)
const TARGET = join(dirname(fileURLToPath(import.meta.url)), '..', 'models', NAME)

const REQUIRED = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'modules.json', '1_Pooling/config.json']
const OPTIONAL = ['config_sentence_transformers.json', 'sentence_bert_config.json']

const F16_MAX = 65504
const bits = new DataView(new ArrayBuffer(4))

/** The float16 nearest to a finite float32, ties to even, as its 16 bits. */
function toHalf(value) {
  bits.setFloat32(0, value)
  const word = bits.getUint32(0)
  const sign = (word >>> 16) & 0x8000
  const exponent = ((word >>> 23) & 0xff) - 127
  const fraction = (word & 0x7fffff) | 0x800000 // with the leading one; float32 subnormals end as zero below
  if (exponent > 15) return sign | 0x7c00
  // A float16 keeps 11 of the 24 bits; below 2^-14 it loses one more for each power of two.
  const dropped = exponent >= -14 ? 13 : 13 + (-14 - exponent)
  if (dropped > 24) return sign
  const kept = fraction >>> dropped
  const rest = fraction & ((1 << dropped) - 1)
  const half = 1 << (dropped - 1)
  const rounded = rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept
  // Adding, not or-ing: a carry out of the fraction is the next exponent, and a subnormal may round up to a normal.
  return sign | (exponent >= -14 ? ((exponent + 14) << 10) + rounded : rounded)
}

/** The value of a finite float16. */
function fromHalf(half) {
  const exponent = (half >>> 10) & 0x1f
  const fraction = half & 0x3ff
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return half & 0x8000 ? -size : size
}

function readSafetensors(path) {
  const file = readFileSync(path)
  const headerLength = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength))
  delete header.__metadata__
  return Object.entries(header).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [start, end],
      },
    ]) => ({
      name,
      dtype,
      shape,
      data: file.subarray(8 + headerLength + start, 8 + headerLength + end),
    }),
  )
}

function writeSafetensors(path, tensors) {
  // Wider elements first keeps everything aligned; by name within that, so the bytes never depend on the source's order.
  const width = { I64: 8, F16: 2 }
  tensors.sort((a, b) => width[b.dtype] - width[a.dtype] || (a.name < b.name ? -1 : 1))
  const header = { __metadata__: { format: 'pt' } }
  let offset = 0
  for (const { name, dtype, shape, data } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] }
    offset += data.length
  }
  let text = JSON.stringify(header)
  text += ' '.repeat((8 - (text.length % 8)) % 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(path, Buffer.concat([length, Buffer.from(text), ...tensors.map(tensor => tensor.data)]))
}

const worst = { absolute: 0, relative: 0, tensor: '' }

function halve(tensor) {
  if (tensor.dtype === 'I64') return tensor // position_ids: a counter, not a weight
  if (tensor.dtype !== 'F32') throw new Error(`${tensor.name} is ${tensor.dtype}; this script knows F32 and I64`)
  const { name, shape, data } = tensor
  const halves = Buffer.alloc(data.length / 2)
  for (let i = 0; i < data.length; i += 4) {
    const value = data.readFloatLE(i)
    const half = toHalf(value)
    if (!Number.isFinite(value) || (half & 0x7c00) === 0x7c00) {
      throw new Error(`${name}[${i / 4}] is ${value}, which float16 (largest ${F16_MAX}) cannot hold`)
    }
    const error = Math.abs(fromHalf(half) - value)
    if (error > worst.absolute) Object.assign(worst, { absolute: error, tensor: name })
    // Relative errors of subnormals mean nothing: their absolute error is below 2^-25.
    if (Math.abs(value) >= 2 ** -14) worst.relative = Math.max(worst.relative, error / Math.abs(value))
    halves.writeUInt16LE(half, i / 2)
  }
  return { name, dtype: 'F16', shape, data: halves }
}

/** Every one of the 63,488 finite float16 values, and the midpoints between neighbours, must convert as IEEE 754 says. */
function selfCheck() {
  for (let half = 0; half < 0x7c00; half++) {
    const value = fromHalf(half)
    if (toHalf(value) !== half || toHalf(-value) !== (half | 0x8000)) throw new Error(`toHalf(${value}) is wrong`)
    const middle = (value + (half + 1 < 0x7c00 ? fromHalf(half + 1) : 65536)) / 2
    if (toHalf(middle) !== (half & 1 ? half + 1 : half))
      throw new Error(`toHalf(${middle}) does not round ties to even`)
  }
}

selfCheck()
if (!existsSync(join(SOURCE, 'model.safetensors'))) {
  console.error(`${SOURCE} has no model.safetensors: give the folder of the original ${NAME} as the argument.`)
  process.exit(1)
}
const tensors = readSafetensors(join(SOURCE, 'model.safetensors')).map(halve)
mkdirSync(join(TARGET, '1_Pooling'), { recursive: true })
writeSafetensors(join(TARGET, 'model.safetensors'), tensors)
for (const file of REQUIRED) copyFileSync(join(SOURCE, file), join(TARGET, file))
for (const file of OPTIONAL) if (existsSync(join(SOURCE, file))) copyFileSync(join(SOURCE, file), join(TARGET, file))

console.log(`${tensors.length} tensors written to ${join(TARGET, 'model.safetensors')}`)
console.log(
  `largest rounding error: ${worst.absolute} (in ${worst.tensor}); relative, of normal values: ${worst.relative}`,
)
