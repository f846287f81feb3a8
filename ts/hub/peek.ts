/** What is looked at of files that are not downloaded: small ones whole, of weights the beginning. Nothing is written. */
import { open } from 'node:fs/promises'
import { networkProblem } from './answers.ts'
import { Backoff } from './backoff.ts'
import type { CachedModel } from './cache.ts'
import { addressOf, checkHeaders, nameOf, type Source, wrongFile } from './download.ts'
import { newHash } from './partial.ts'
import { Problem } from './problem.ts'

const TRIES = 4
/** The index of the largest models has 1 MB. */
const MAX_SMALL = 32 << 20
/** The header of an encoder's safetensors has 20 to 100 kB; more is asked for where it is longer. */
const FIRST_BYTES = 128 << 10
/** As crates/bert-layers/src/weights/safetensors.rs has it. */
const MAX_HEADER = 16 << 20

/** A small file, as the hub states it. */
export async function readSmall(source: Source, cache: CachedModel): Promise<Buffer> {
  const { file } = source
  if (file.size > MAX_SMALL) {
    throw new Problem('broken', `${nameOf(source)} has ${file.size} bytes: too many for what it should be`)
  }
  const bytes = await readStart(source, cache, file.size)
  if (newHash(file).update(bytes).digest('hex') !== file.hash) throw wrongFile(source)
  return bytes
}

/** The beginning of a file of safetensors: the length of its header, and the header, where it is one. */
export async function readHeader(source: Source, cache: CachedModel): Promise<Buffer> {
  const first = await readStart(source, cache, FIRST_BYTES)
  const end = first.length < 8 ? 0 : Number(first.readBigUInt64LE()) + 8
  if (end <= first.length || end > Math.min(source.file.size, MAX_HEADER)) return first
  return readStart(source, cache, end)
}

/** The first bytes of a file, or all that it has: from the cache if that has it, else from the hub. */
async function readStart(source: Source, cache: CachedModel, bytes: number): Promise<Buffer> {
  const { hub, file } = source
  const length = Math.min(bytes, file.size)
  if (cache.hasBlob(file.hash, file.size)) return readFromDisk(cache.blob(file.hash), length)
  return new Backoff(TRIES, hub.signal).run(() => receive(source, length))
}

async function readFromDisk(path: string, length: number): Promise<Buffer> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

async function receive(source: Source, length: number): Promise<Buffer> {
  const { hub } = source
  if (length === 0) return Buffer.alloc(0)
  const url = addressOf(source)
  const range = { range: `bytes=0-${length - 1}` }
  const answer = await hub.get(url.href, nameOf(source), range, hub.settings.metadataTimeout)
  const broken = () => `${nameOf(source)} broke off after ${received} bytes`
  const chunks: Buffer[] = []
  let received = 0
  try {
    checkHeaders(answer, source)
    // With 200 the whole file comes, whatever was asked for.
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      received += chunk.length
      if (received >= length) break
    }
  } catch (error) {
    throw networkProblem(error, broken(), url, hub.signal)
  } finally {
    answer.body.destroy()
  }
  if (received < length) throw new Problem('network', broken())
  return Buffer.concat(chunks).subarray(0, length)
}
