import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { networkProblem } from './answers.ts'
import { Backoff } from './backoff.ts'
import type { CachedModel } from './cache.ts'
import { type Answer, type Connection, looksLikeHtml } from './connection.ts'
import type { HubFile } from './listing.ts'
import { withLock } from './lock.ts'
import { PartialFile } from './partial.ts'
import { Problem } from './problem.ts'
import type { FileProgress } from './progress.ts'

/** Tries without a byte in between; a byte that arrives makes them whole again. */
const TRIES = 6
/** Whole files with a wrong hash that are tried again. */
const WRONG_FILES = 2

/** Sees that the cache has the file's blob; downloads what is missing of it, unless another process does. */
export async function downloadBlob(
  hub: Connection,
  cache: CachedModel,
  model: string,
  commit: string,
  file: HubFile,
  progress: FileProgress,
): Promise<void> {
  if (cache.hasBlob(file.hash, file.size)) return
  progress.initiate()
  await withLock(cache.lock(file.hash), hub.signal, async alone => {
    const blob = cache.blob(file.hash)
    if (!cache.hasBlob(file.hash, file.size)) {
      const own = alone ? '' : `.${process.pid}-${Math.random().toString(36).slice(2, 10)}`
      const partial = await PartialFile.open(`${blob}${own}.incomplete`, file)
      try {
        await checkSpace(blob, file.size - partial.size)
        await fill(partial, hub, model, commit, file, progress)
        await partial.finish(blob)
      } finally {
        await partial.close()
        if (!alone) await partial.remove()
      }
    }
    progress.done()
  })
}

/** Downloads until the file is whole and right. */
async function fill(
  partial: PartialFile,
  hub: Connection,
  model: string,
  commit: string,
  file: HubFile,
  progress: FileProgress,
): Promise<void> {
  const what = `${file.path} of ${model}`
  const path = file.path.split('/').map(encodeURIComponent).join('/')
  const address = `${hub.settings.endpoint}/${model}/resolve/${commit}/${path}`
  const backoff = new Backoff(TRIES, hub.signal)
  let wrongFiles = 0
  let start = ''
  for (;;) {
    const before = partial.size
    try {
      if (!partial.isFull) start = await receive(partial, hub, address, what, file, progress)
      if (partial.isRight()) return
      // What a former process left may be what is wrong: that must not end it.
      await partial.restart()
      if (++wrongFiles > WRONG_FILES) throw wrongContent(what, start, file)
    } catch (error) {
      if (partial.size > before) backoff.progressed()
      await backoff.next(error)
    }
  }
}

/** One answer, written to its end or to where it breaks off. Gives the first bytes, for a message. */
async function receive(
  partial: PartialFile,
  hub: Connection,
  address: string,
  what: string,
  file: HubFile,
  progress: FileProgress,
): Promise<string> {
  const headers: Record<string, string> = partial.size > 0 ? { range: `bytes=${partial.size}-` } : {}
  const answer = await hub.get(address, what, headers, hub.settings.downloadTimeout)
  checkStated(answer, what, file)
  if (answer.status === 416 || !continues(answer, partial.size, file)) {
    // The whole file comes, or the hub does not know such a range: what is there is of no use.
    await partial.restart()
    if (answer.status !== 200) {
      answer.body.destroy()
      throw new Problem('network', `${what}: ${new URL(address).host} did not give the part that was asked for`)
    }
  }
  progress.download(partial.size)
  let start = ''
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      if (start === '') start = chunk.toString('latin1', 0, 200)
      if (partial.size + chunk.length > file.size) {
        await partial.restart()
        throw wrongContent(what, start, file)
      }
      await partial.append(chunk)
      progress.progress(partial.size)
    }
  } catch (error) {
    throw networkProblem(
      error,
      `${what} broke off after ${partial.size} of ${file.size} bytes`,
      new URL(address),
      hub.signal,
    )
  }
  if (!partial.isFull) {
    throw new Problem('network', `${what} broke off after ${partial.size} of ${file.size} bytes`)
  }
  return looksLikeHtml(start, answer.headers) ? '<html' : start
}

/** Whether an answer begins where the partial file ends. */
function continues({ status, headers }: Answer, offset: number, file: HubFile): boolean {
  if (status === 200) return offset === 0
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(headers['content-range']))
  return status === 206 && Number(range?.[1]) === offset && (range?.[2] === '*' || Number(range?.[2]) === file.size)
}

/** What the hub states with the file must be what it stated in its list. */
function checkStated({ hubHeaders }: Answer, what: string, file: HubFile): void {
  const etag = hubHeaders['x-linked-etag']
  const size = hubHeaders['x-linked-size']
  const hash = typeof etag === 'string' ? etag.replace(/^W\//, '').replaceAll('"', '') : undefined
  const isSame = (hash === undefined || hash === file.hash) && (size === undefined || Number(size) === file.size)
  if (isSame) return
  throw new Problem(
    'broken',
    `${what}: the hub states one size and hash in its list of files and another with the file`,
  )
}

function wrongContent(what: string, start: string, file: HubFile): Problem {
  const found = /^\s*<(!doctype|html)/i.test(start)
    ? 'a web page (HTML): a proxy or a login page may be in between'
    : 'something else: the transfer is damaged, or the file is not what the hub says'
  const stated = `${file.size} bytes with the hash ${file.hash}`
  return new Problem('broken', `${what} should be ${stated}, and what arrives is ${found}. Nothing of it was kept`)
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
