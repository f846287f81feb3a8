import type { HiddenStates } from '../../index.d.ts'
import { bytesOf } from './output.ts'

const MAGIC = '\x93NUMPY\x01\x00'
/** The format wants the data to begin at a multiple of this. */
const ALIGNMENT = 64

/** float32 [layer, token of all texts, hidden]. */
export function npyChunks({ data, layers, hiddenSize }: HiddenStates): Iterable<Uint8Array> {
  return npyArray(data, [layers.length, data.length / layers.length / hiddenSize, hiddenSize])
}

/** NumPy's format, version 1.0, of float32. */
export function* npyArray(data: Float32Array, shape: readonly number[]): Iterable<Uint8Array> {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`
  const before = MAGIC.length + 2
  const padded = Math.ceil((before + header.length + 1) / ALIGNMENT) * ALIGNMENT - before
  const length = Uint8Array.of(padded & 0xff, padded >> 8)
  yield Buffer.concat([Buffer.from(MAGIC, 'latin1'), length, Buffer.from(`${header.padEnd(padded - 1)}\n`, 'latin1')])
  yield bytesOf(data)
}
