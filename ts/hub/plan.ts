import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { WeightFormat } from '../../index.d.ts'
import { completeWeights, isDescription, type KnownFiles, vocabularyOf } from './choice.ts'
import type { Source } from './download.ts'
import { type HubFile, listFiles } from './listing.ts'
import { readHeader, readSmall } from './peek.ts'
import { isWhole, type Snapshot, type SnapshotRequest, withSnapshot } from './snapshot.ts'

/** A file that loading needs. */
export interface PlannedFile {
  path: string
  /** Bytes. */
  size: number
  /** How many of them the cache has. */
  cached: number
}

/** What loading a model needs. */
export interface Plan {
  /** Where its files are in the cache, or would be. */
  folder: string
  commit: string
  files: PlannedFile[]
  /** What is known of a model that is not in the cache as a whole. */
  preview?: Preview
  /** Why the hub could not be asked: the plan is what the cache has. */
  unasked?: string
}

/** What a model is, from its small files and the beginnings of its weights. */
export interface Preview {
  /** Its configuration, and other files that describe it, by path. */
  descriptions: Record<string, Buffer>
  /** The first are those that would be downloaded. */
  weights: { format: WeightFormat; file: string; bytes: number }[]
  /** Of safetensors, file after file. */
  headers: { file: string; bytes: number; start: Buffer }[]
  /** The file that a tokenizer would be made of. */
  vocabulary: string | undefined
}

/** What loading a model needs, and what it would download. Reads small files and the beginnings of weights; nothing is written. */
export function hubPlan(request: Omit<SnapshotRequest, 'progressCallback'>): Promise<Plan> {
  return withSnapshot(request, snapshot =>
    snapshot.ask(
      tries => plan(snapshot, tries),
      (cached, { message }) => planFromCache(snapshot, cached).then(plan => ({ ...plan, unasked: message })),
    ),
  )
}

async function plan(snapshot: Snapshot, tries: number): Promise<Plan> {
  const { hub, model, cache } = snapshot
  const commit = await snapshot.commit(tries)
  const cached = await snapshot.choiceFromCache(commit)
  if (isWhole(cached) && cached.unknown.length === 0) return planFromCache(snapshot, commit)
  const listed = await listFiles(hub, model, commit, tries)
  const repository = new Repository(listed, path => ({ hub, model, commit, file: listed.get(path)! }), snapshot)
  const { files, weights } = await snapshot.needed(listed, repository, cached)
  const planned = files.map(file => ({ path: file.path, size: file.size, cached: bytesOf(snapshot, commit, file) }))
  const plan = { folder: cache.snapshot(commit), commit, files: planned }
  return isWhole(cached) ? plan : { ...plan, preview: await preview(repository, files, weights) }
}

/** A commit's files, looked at on the hub. */
class Repository implements KnownFiles {
  readonly #listed: Map<string, HubFile>
  readonly #sourceOf: (path: string) => Source
  readonly #snapshot: Snapshot

  constructor(listed: Map<string, HubFile>, sourceOf: (path: string) => Source, snapshot: Snapshot) {
    this.#listed = listed
    this.#sourceOf = sourceOf
    this.#snapshot = snapshot
  }

  has(path: string): boolean {
    return this.#listed.has(path)
  }

  size(path: string): number {
    return this.#listed.get(path)?.size ?? 0
  }

  async read(path: string): Promise<string> {
    return (await this.bytes(path)).toString('utf8')
  }

  bytes(path: string): Promise<Buffer> {
    return readSmall(this.#sourceOf(path), this.#snapshot.cache)
  }

  header(path: string): Promise<Buffer> {
    return readHeader(this.#sourceOf(path), this.#snapshot.cache)
  }
}

/** `files` are all that are needed, the configuration last; `weights` those of the weights among them. */
async function preview(repository: Repository, files: HubFile[], weights: string[]): Promise<Preview> {
  const paths = files.map(({ path }) => path)
  const seen: Preview = { descriptions: {}, weights: [], headers: [], vocabulary: vocabularyOf(paths) }
  for (const path of paths.filter(path => path === paths.at(-1) || isDescription(path))) {
    seen.descriptions[path] = await repository.bytes(path)
  }
  for await (const { format, files } of completeWeights(repository)) {
    const found = { format, file: files[0]!, bytes: files.reduce((sum, path) => sum + repository.size(path), 0) }
    if (found.file === weights[0]) seen.weights.unshift(found)
    else if (seen.weights.every(other => other.format !== format)) seen.weights.push(found)
  }
  for (const path of weights.filter(path => path.endsWith('.safetensors'))) {
    seen.headers.push({ file: path, bytes: repository.size(path), start: await repository.header(path) })
  }
  return seen
}

async function planFromCache(snapshot: Snapshot, commit: string): Promise<Plan> {
  const folder = snapshot.cache.snapshot(commit)
  const { others, weights, config } = await snapshot.choiceFromCache(commit)
  const paths = [...others, ...weights, ...(config === undefined ? [] : [config])]
  const files = paths.map(path => {
    const { size } = statSync(join(folder, path))
    return { path, size, cached: size }
  })
  return { folder, commit, files }
}

/** How much of a file the cache has. */
function bytesOf(snapshot: Snapshot, commit: string, file: HubFile): number {
  const { cache } = snapshot
  if (snapshot.has(commit, file) || cache.hasBlob(file.hash, file.size)) return file.size
  const partial = statSync(`${cache.blob(file.hash)}.incomplete`, { throwIfNoEntry: false })
  return Math.min(partial?.size ?? 0, file.size)
}
