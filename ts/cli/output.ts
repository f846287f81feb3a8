import { randomUUID } from 'node:crypto'
import { constants, createWriteStream, rmSync, type Stats } from 'node:fs'
import { access, realpath, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

export type Chunk = string | Uint8Array

/** All there is to write, or what is made while earlier chunks are written. */
export type Chunks = Iterable<Chunk> | AsyncIterable<Chunk>

/** Bytes written at a time, so that a slow reader holds us up and not our memory. */
const PIECE = 1 << 20

/** What ends this process from outside. */
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Fails at once where nothing could be written, before anything is computed. */
export async function checkOut(file: string): Promise<void> {
  try {
    const found = await statOf(file)
    if (found?.isDirectory()) throw Object.assign(new Error('it is a folder'), { code: 'EISDIR' })
    await access(found === undefined || found.isFile() ? dirname(await targetOf(file)) : file, constants.W_OK)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const isNowhere = code === 'ENOENT' || code === 'ENOTDIR'
    const why = isNowhere ? `there is no folder ${dirname(file)}` : message.replace(`${code}: `, '')
    throw Object.assign(new Error(`--out ${file}: ${why}`), { code })
  }
}

/** Writes chunks to a file or to standard output, as fast as it takes them. A file has its name once it is complete. */
export async function writeAll(chunks: Chunks, file: string | undefined): Promise<void> {
  if (file === undefined) return write(chunks, process.stdout, false)
  const found = await statOf(file)
  // A device or a pipe is written to; it must not be replaced.
  if (found !== undefined && !found.isFile()) return write(chunks, createWriteStream(file), true)
  await replace(await targetOf(file), found, temporary => write(chunks, temporary, true))
}

/** Writes beside the file and renames; what fails or is interrupted leaves nothing behind. */
async function replace(file: string, before: Stats | undefined, fill: (temporary: Writable) => Promise<void>) {
  const name = join(dirname(file), `.bert-layers-${randomUUID()}.tmp`)
  const remove = () => rmSync(name, { force: true })
  const interrupted = (signal: NodeJS.Signals) => {
    remove()
    process.kill(process.pid, signal) // its handlers are gone by now: it ends the process as it would have
  }
  for (const signal of SIGNALS) process.once(signal, interrupted)
  try {
    await fill(createWriteStream(name, { flags: 'wx', mode: before ? before.mode & 0o777 : 0o666 }))
    await rename(name, file)
  } catch (error) {
    remove()
    throw error
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted)
  }
}

async function write(chunks: Chunks, target: Writable, end: boolean): Promise<void> {
  await pipeline(Readable.from(pieces(chunks)), target, { end })
}

/** What is there; undefined for nothing. */
async function statOf(file: string): Promise<Stats | undefined> {
  return stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}

/** The file itself where the name is a link: the link stays. */
async function targetOf(file: string): Promise<string> {
  return realpath(file).catch(() => file)
}

async function* pieces(chunks: Chunks): AsyncIterable<Chunk> {
  for await (const chunk of chunks) {
    if (typeof chunk === 'string') yield chunk
    else for (let at = 0; at < chunk.length; at += PIECE) yield chunk.subarray(at, at + PIECE)
  }
}

/** The bytes of a typed array: little-endian on every platform that Node runs on here. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
