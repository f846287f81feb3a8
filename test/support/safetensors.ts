import { readFileSync } from 'node:fs'

export interface TensorEntry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/** A safetensors file taken apart, to be compared with or to be damaged. */
export interface SafetensorsFile {
  header: Record<string, TensorEntry>
  data: Buffer
}

export function readSafetensors(path: string): SafetensorsFile {
  return parseSafetensors(readFileSync(path))
}

export function parseSafetensors(bytes: Buffer): SafetensorsFile {
  const length = Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, TensorEntry>
  delete header.__metadata__
  return { header, data: bytes.subarray(8 + length) }
}

/** Puts a file together; a header that is given as text is taken as it is. */
export function formatSafetensors(header: Record<string, TensorEntry> | string, data: Uint8Array): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, data])
}

/** Whether there is a tensor of this name. */
export function has({ header }: SafetensorsFile, name: string): boolean {
  return name in header
}

/** A float32 tensor. */
export function floats(file: SafetensorsFile, name: string): Float32Array {
  return new Float32Array(tensorBytes(file, name, 'F32'))
}

/** An int64 tensor, as numbers. */
export function integers(file: SafetensorsFile, name: string): number[] {
  return Array.from(new BigInt64Array(tensorBytes(file, name, 'I64')), Number)
}

export function shape(file: SafetensorsFile, name: string): number[] {
  return entry(file, name).shape
}

function tensorBytes(file: SafetensorsFile, name: string, dtype: string): ArrayBuffer {
  const tensor = entry(file, name)
  if (tensor.dtype !== dtype) throw new Error(`${name} is ${tensor.dtype}, not ${dtype}`)
  return Uint8Array.from(file.data.subarray(...tensor.data_offsets)).buffer
}

function entry({ header }: SafetensorsFile, name: string): TensorEntry {
  const found = header[name]
  if (found === undefined) throw new Error(`no tensor ${name}`)
  return found
}
