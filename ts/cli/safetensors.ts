import type { HiddenStates } from '../../index.d.ts'
import { bytesOf } from './output.ts'
import type { ModelSummary } from './texts.ts'

/** safetensors: hidden_states f32 [layer, token of all texts, hidden]; input_ids, starts (of each text, and the end) and layers, i64. */
export function safetensorsChunks(states: HiddenStates, model: ModelSummary): Iterable<Uint8Array> {
  const { data, layers, hiddenSize, texts } = states
  const ids = texts.flatMap(text => text.ids)
  const starts = [0]
  for (const text of texts) starts.push(starts.at(-1)! + text.ids.length)
  // The widest type first: everything is aligned then.
  const tensors: Tensor[] = [
    { name: 'input_ids', dtype: 'I64', shape: [ids.length], bytes: int64(ids) },
    { name: 'layers', dtype: 'I64', shape: [layers.length], bytes: int64(layers) },
    { name: 'starts', dtype: 'I64', shape: [starts.length], bytes: int64(starts) },
    { name: 'hidden_states', dtype: 'F32', shape: [layers.length, ids.length, hiddenSize], bytes: bytesOf(data) },
  ]
  const metadata = { format: 'pt', model: model.name, device: model.device, dtype: model.dtype }
  return safetensorsFile(tensors, metadata)
}

interface Tensor {
  name: string
  dtype: 'I64' | 'F32'
  shape: number[]
  bytes: Uint8Array
}

/** A file of these tensors, in this order. */
export function* safetensorsFile(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>>,
): Iterable<Uint8Array> {
  let offset = 0
  const entries = tensors.map(({ name, dtype, shape, bytes }) => {
    const data_offsets = [offset, offset + bytes.length]
    offset += bytes.length
    return [name, { dtype, shape, data_offsets }]
  })
  const header = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }))
  const padded = Math.ceil(header.length / 8) * 8
  const length = new BigUint64Array([BigInt(padded)])
  yield Buffer.concat([bytesOf(length), header, Buffer.alloc(padded - header.length, ' ')])
  for (const { bytes } of tensors) yield bytes
}

function int64(values: readonly number[]): Uint8Array {
  return bytesOf(BigInt64Array.from(values, BigInt))
}
