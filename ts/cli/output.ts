import { createWriteStream } from 'node:fs'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

export type Chunk = string | Uint8Array

/** Bytes written at a time, so that a slow reader holds us up and not our memory. */
const PIECE = 1 << 20

/** Writes chunks to a file or to standard output, as fast as it takes them. */
export async function writeAll(chunks: Iterable<Chunk>, file: string | undefined): Promise<void> {
  const target: Writable = file === undefined ? process.stdout : createWriteStream(file)
  await pipeline(Readable.from(pieces(chunks)), target, { end: file !== undefined })
}

function* pieces(chunks: Iterable<Chunk>): Iterable<Chunk> {
  for (const chunk of chunks) {
    if (typeof chunk === 'string') yield chunk
    else for (let at = 0; at < chunk.length; at += PIECE) yield chunk.subarray(at, at + PIECE)
  }
}

/** The bytes of a typed array: little-endian on every platform that Node runs on here. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
