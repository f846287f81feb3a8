import { Backoff } from './backoff.ts'
import type { Connection } from './connection.ts'
import { checkFileName, isCommit } from './names.ts'
import { Problem } from './problem.ts'

/** A file as the hub states it. */
export interface HubFile {
  path: string
  size: number
  /** SHA-256 of a large file, git's blob SHA-1 of a small one; the blob's name in the cache. */
  hash: string
}

const MAX_PAGES = 1000

/** The commit that a branch or tag stands for now. */
export async function resolveCommit(hub: Connection, model: string, revision: string, tries: number): Promise<string> {
  const what = `revision '${revision}' of ${model}`
  const address = `${hub.settings.endpoint}/api/models/${model}/revision/${encodeURIComponent(revision)}`
  const { value } = await new Backoff(tries, hub.signal).run(() => hub.json(address, what))
  const sha = fieldOf(value, 'sha')
  if (typeof sha === 'string' && isCommit(sha)) return sha
  throw new Problem('broken', `${what}: the hub's answer has no commit; is HF_ENDPOINT right?`)
}

/** All files of a commit, by path. */
export async function listFiles(
  hub: Connection,
  model: string,
  commit: string,
  tries: number,
): Promise<Map<string, HubFile>> {
  const what = `the list of files of ${model}`
  const files = new Map<string, HubFile>()
  let address: string | undefined =
    `${hub.settings.endpoint}/api/models/${model}/tree/${commit}?recursive=true&expand=false`
  for (let page = 0; address !== undefined; page++) {
    if (page === MAX_PAGES) throw new Problem('broken', `${what} has no end (more than ${MAX_PAGES} pages)`)
    const from: string = address
    const { value, headers } = await new Backoff(tries, hub.signal).run(() => hub.json(from, what))
    if (!Array.isArray(value)) throw new Problem('broken', `${what} is no list; is HF_ENDPOINT right?`)
    for (const entry of value) {
      const file = readEntry(entry, what)
      if (file !== undefined) files.set(file.path, file)
    }
    address = nextPage(headers.link, from)
  }
  return files
}

function readEntry(entry: unknown, what: string): HubFile | undefined {
  if (fieldOf(entry, 'type') !== 'file') return undefined
  const path = fieldOf(entry, 'path')
  const lfs = fieldOf(entry, 'lfs')
  const size = fieldOf(lfs, 'size') ?? fieldOf(entry, 'size')
  const hash = fieldOf(lfs, 'oid') ?? fieldOf(entry, 'oid')
  const isSound =
    typeof path === 'string' &&
    Number.isSafeInteger(size) &&
    (size as number) >= 0 &&
    typeof hash === 'string' &&
    (lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hash)
  if (!isSound)
    throw new Problem('broken', `${what} has a file without name, size or hash: ${JSON.stringify(entry).slice(0, 200)}`)
  checkFileName(path)
  return { path, size: size as number, hash }
}

function nextPage(link: string | string[] | undefined, from: string): string | undefined {
  const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(String(link ?? ''))?.[1]
  return next !== undefined && URL.canParse(next, from) ? new URL(next, from).href : undefined
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}
