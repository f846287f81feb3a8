import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isHtml, networkProblem } from './answers.ts'
import { Backoff } from './backoff.ts'
import type { CachedModel } from './cache.ts'
import type { Answer, Connection } from './connection.ts'
import type { HubFile } from './listing.ts'
import { withLock } from './lock.ts'
import { PartialFile } from './partial.ts'
import { Problem } from './problem.ts'
import type { FileProgress } from './progress.ts'

/** Tries without a byte in between; a byte that arrives makes them whole again. */
const TRIES = 6
/** Whole files with a wrong hash that are tried again. What a former process left may be what is wrong with the first. */
const WRONG_FILES = 2

/** A file of a commit, and where it comes from. */
export interface Source {
  hub: Connection
  model: string
  commit: string
  file: HubFile
}

/** Sees that the cache has the file's blob; downloads what is missing of it, unless another process does. */
export async function downloadBlob(source: Source, cache: CachedModel, progress: FileProgress): Promise<void> {
  const { hub, file } = source
  if (cache.hasBlob(file.hash, file.size)) return
  progress.initiate()
  await withLock(cache.lock(file.hash), hub.signal, async alone => {
    if (!cache.hasBlob(file.hash, file.size)) await download(source, cache.blob(file.hash), alone, progress)
  })
  progress.done()
}

/** Where the process may not be alone, the partial file is its own, and does not outlive it. */
async function download(source: Source, blob: string, alone: boolean, progress: FileProgress): Promise<void> {
  const { file } = source
  const own = alone ? '' : `.${process.pid}-${Math.random().toString(36).slice(2, 10)}`
  const partial = await PartialFile.open(`${blob}${own}.incomplete`, file)
  try {
    await checkSpace(blob, file.size - partial.size)
    await fill(partial, source, progress)
    await partial.finish(blob)
  } finally {
    await partial.close()
    if (!alone) await partial.remove()
  }
}

/** Downloads until the file is whole and right. */
async function fill(partial: PartialFile, source: Source, progress: FileProgress): Promise<void> {
  const backoff = new Backoff(TRIES, source.hub.signal)
  for (let wrongFiles = 0; ; ) {
    const before = partial.size
    try {
      if (!partial.isFull) await receive(partial, source, progress)
      if (partial.isRight()) return
      await partial.restart()
      if (++wrongFiles > WRONG_FILES) throw wrongFile(source)
    } catch (error) {
      if (partial.size > before) backoff.progressed()
      await backoff.next(error)
    }
  }
}

/** One answer, written to its end or to where it breaks off. */
async function receive(partial: PartialFile, source: Source, progress: FileProgress): Promise<void> {
  const { hub, file } = source
  const url = addressOf(source)
  const headers: Record<string, string> = partial.size > 0 ? { range: `bytes=${partial.size}-` } : {}
  const answer = await hub.get(url.href, nameOf(source), headers, hub.settings.downloadTimeout)
  const broken = () => `${nameOf(source)} broke off after ${partial.size} of ${file.size} bytes`
  try {
    checkHeaders(answer, source)
    if (!continues(answer, partial.size, file)) {
      await partial.restart()
      // With 200 the whole file comes, whatever was asked for.
      if (answer.status !== 200) throw new Problem('network', `${broken()}: ${url.host} does not give the rest of it`)
    }
    progress.download(partial.size)
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      if (partial.size + chunk.length > file.size) {
        await partial.restart()
        throw wrongFile(source)
      }
      await partial.append(chunk)
      progress.progress(partial.size)
    }
  } catch (error) {
    throw networkProblem(error, broken(), url, hub.signal)
  } finally {
    answer.body.destroy()
  }
  if (!partial.isFull) throw new Problem('network', broken())
}

/** What an answer says of itself must be what the hub stated in its list: before anything of it is written. */
export function checkHeaders({ status, headers, hubHeaders }: Answer, source: Source): void {
  const { file } = source
  const etag = hubHeaders['x-linked-etag']
  const size = hubHeaders['x-linked-size']
  const hash = typeof etag === 'string' ? etag.replace(/^W\//, '').replaceAll('"', '') : undefined
  if ((hash !== undefined && hash !== file.hash) || (size !== undefined && Number(size) !== file.size)) {
    const what = nameOf(source)
    throw new Problem(
      'broken',
      `${what}: the hub states one size and hash in its list of files and another with the file`,
    )
  }
  if (isHtml(headers)) throw wrongFile(source, 'a web page (HTML): a proxy or a login page may be in between')
  const length = headers['content-length']
  if (status === 200 && length !== undefined && Number(length) !== file.size) throw wrongFile(source)
}

/** Whether an answer begins where the partial file ends. */
function continues({ status, headers }: Answer, offset: number, file: HubFile): boolean {
  if (status === 200) return offset === 0
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(headers['content-range']))
  return status === 206 && Number(range?.[1]) === offset && (range?.[2] === '*' || Number(range?.[2]) === file.size)
}

export function wrongFile(
  source: Source,
  found = 'something else: the transfer is damaged, or the file is not what the hub says',
): Problem {
  const { size, hash } = source.file
  const stated = `${size} bytes with the hash ${hash}`
  return new Problem(
    'broken',
    `${nameOf(source)} should be ${stated}, and what arrives is ${found}. Nothing of it was kept`,
  )
}

export function addressOf({ hub, model, commit, file }: Source): URL {
  const path = file.path.split('/').map(encodeURIComponent).join('/')
  return new URL(`${hub.settings.endpoint}/${model}/resolve/${commit}/${path}`)
}

export function nameOf({ file, model }: Source): string {
  return `${file.path} of ${model}`
}

/** Says at once what would fail after an hour. */
async function checkSpace(blob: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(blob)).catch(() => ({ bavail: Number.POSITIVE_INFINITY, bsize: 1 }))
  const free = bavail * bsize
  if (needed <= free) return
  throw new Problem(
    'disk',
    `the disk of ${dirname(blob)} has ${free} bytes free, and ${needed} are to be downloaded: make room, or name another cache ` +
      'with cacheDir or HF_HUB_CACHE',
  )
}
