import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { ProgressCallback } from '../../index.d.ts'
import { listen, unlisten } from '../abort.ts'
import { BertLayersError, invalidInput } from '../errors.ts'
import { describe } from '../validate.ts'
import { CachedModel, isFile } from './cache.ts'
import { type Choice, chooseFiles, type KnownFiles, looksLikeWeights } from './choice.ts'
import { Connection } from './connection.ts'
import { downloadBlob } from './download.ts'
import { type HubFile, listFiles, resolveCommit } from './listing.ts'
import { isCommit, isRevision } from './names.ts'
import { asProblem, onDisk, Problem } from './problem.ts'
import { FileProgress } from './progress.ts'
import { hubCache, hubSettings } from './settings.ts'

/** Requests for metadata: with a model in the cache there is something better to do than to wait. */
const TRIES = { cached: 1, absent: 4 }
/** Files that are downloaded at a time. */
const AT_A_TIME = 4

export interface SnapshotRequest {
  /** A hub name. */
  model: string
  revision: string | undefined
  cacheDir: string | undefined
  progressCallback: ProgressCallback | undefined
  signal: AbortSignal | undefined
}

/**
 * The folder of a model in the cache, with all files that are needed. Asks the hub once what the revision stands for; downloads
 * only what is missing. Where the hub cannot be asked, what the cache has must do, and a warning says so.
 */
export function hubSnapshot(request: SnapshotRequest): Promise<string> {
  return withSnapshot(request, snapshot => snapshot.get())
}

/** Every failure of the job becomes a BertLayersError, but for the signal's reason and for what the callback throws. */
export async function withSnapshot<T>(
  request: Partial<SnapshotRequest> & { model: string },
  job: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const { model, revision = 'main', cacheDir, signal, progressCallback } = request
  if (!isRevision(revision)) {
    throw invalidInput(`option revision must be a branch, tag or commit, not ${describe(revision)}`)
  }
  const controller = new AbortController()
  const onAbort = () => controller.abort(signal?.reason)
  if (signal) listen(signal, onAbort)
  const tell: ProgressCallback = info => {
    try {
      progressCallback?.(info)
    } catch (error) {
      controller.abort(error)
    }
  }
  try {
    return await job(new Snapshot(model, revision, cacheDir ?? hubCache(), tell, controller.signal))
  } catch (error) {
    controller.signal.throwIfAborted()
    const { code, message, cause } = asProblem(error)
    throw new BertLayersError(code, message, cause === undefined ? {} : { cause })
  } finally {
    if (signal) unlisten(signal, onAbort)
  }
}

/** A model at one revision, on the hub and in the cache. */
export class Snapshot {
  readonly model: string
  readonly #revision: string
  readonly cache: CachedModel
  readonly #tell: ProgressCallback
  readonly hub: Connection

  constructor(model: string, revision: string, cache: string, tell: ProgressCallback, signal: AbortSignal) {
    const settings = hubSettings()
    this.model = model
    this.#revision = revision
    this.cache = new CachedModel(cache, model, settings.links)
    this.#tell = tell
    this.hub = new Connection(settings, signal)
  }

  get(): Promise<string> {
    return this.ask(
      tries => this.#update(tries),
      (cached, { message }) => {
        process.emitWarning(
          `'${this.model}' is used as the cache has it, commit ${cached}, which may not be the newest: ${message}`,
          'BertLayersWarning',
        )
        return this.cache.snapshot(cached)
      },
    )
  }

  /** Asks the hub. Where it cannot be asked, what the cache has must do. */
  async ask<T>(
    job: (tries: number) => Promise<T>,
    instead: (commit: string, problem: Problem) => T | Promise<T>,
  ): Promise<T> {
    const cached = this.cache.commitOf(this.#revision)
    const isUsable = cached !== undefined && isWhole(await this.choiceFromCache(cached))
    try {
      return await job(isUsable ? TRIES.cached : TRIES.absent)
    } catch (error) {
      if (!(error instanceof Problem) || this.hub.signal.aborted) throw error
      if (!isUsable || error.kind === 'revision' || error.kind === 'disk')
        throw this.#failure(error, cached !== undefined)
      return instead(cached, error)
    } finally {
      await this.hub.close()
    }
  }

  /** What the revision stands for now, in the cache. One request where nothing is new. */
  async #update(tries: number): Promise<string> {
    const commit = await this.commit(tries)
    const cached = await this.choiceFromCache(commit)
    if (!isWhole(cached) || cached.unknown.length > 0) await this.#complete(commit, cached, tries)
    // Last: until now the revision stood for a commit that is whole. A cache that is there for reading only is no error.
    await this.cache.writeRef(this.#revision, commit).catch(() => {})
    return this.cache.snapshot(commit)
  }

  async commit(tries: number): Promise<string> {
    return isCommit(this.#revision) ? this.#revision : resolveCommit(this.hub, this.model, this.#revision, tries)
  }

  /** Downloads what a snapshot lacks. */
  async #complete(commit: string, cached: Choice, tries: number): Promise<void> {
    const listed = await listFiles(this.hub, this.model, commit, tries)
    const known = {
      has: (path: string) => listed.has(path),
      read: async (path: string) => {
        const file = listed.get(path)!
        await this.#fetch(commit, file)
        return readFile(this.cache.blob(file.hash), 'utf8')
      },
    }
    const { files, absent } = await this.needed(listed, known, cached)
    const missing = files.filter(file => !this.has(commit, file))
    await this.#all(missing, file => this.#fetch(commit, file))
    // Only now, and the configuration last: a snapshot that has one has all.
    for (const { path, hash } of missing) {
      await onDisk(this.cache.folder, () => this.cache.addToSnapshot(commit, path, hash))
    }
    for (const path of absent) await this.cache.noteAbsent(commit, path).catch(() => {})
  }

  /** What a commit needs, the configuration last. Weights that the cache has, of whatever format, are as good as better ones. */
  async needed(
    listed: Map<string, HubFile>,
    known: KnownFiles,
    cached: Choice,
  ): Promise<{ files: HubFile[]; absent: string[]; weights: string[] }> {
    const choice = await chooseFiles(known)
    if (choice.config === undefined) {
      throw new Problem('missing', 'the repository has no config.json: it holds no model that this package loads')
    }
    const weights = cached.weights.length > 0 ? cached.weights : choice.weights
    if (weights.length === 0) throw noWeights(listed.keys())
    const paths = [...choice.others, ...weights, choice.config]
    return { files: paths.flatMap(path => listed.get(path) ?? []), absent: choice.absent, weights }
  }

  has(commit: string, { path, size }: HubFile): boolean {
    return isFile(join(this.cache.snapshot(commit), path), size)
  }

  async #fetch(commit: string, file: HubFile): Promise<void> {
    await onDisk(this.cache.folder, () => this.cache.prepare())
    const progress = new FileProgress(this.#tell, this.model, file.path, file.size)
    await downloadBlob({ hub: this.hub, model: this.model, commit, file }, this.cache, progress)
  }

  /** A few at a time. The first failure stops the others, and is thrown when they have stopped. */
  async #all(files: HubFile[], job: (file: HubFile) => Promise<void>): Promise<void> {
    const rest = [...files]
    let failure: { error: unknown } | undefined
    const work = async () => {
      for (let file = rest.shift(); file !== undefined; file = rest.shift()) {
        await job(file).catch(error => {
          failure ??= { error }
          rest.length = 0
        })
      }
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, work))
    if (failure !== undefined) throw failure.error
  }

  choiceFromCache(commit: string): Promise<Choice> {
    return chooseFiles({
      has: path => this.cache.has(commit, path),
      read: path => readFile(join(this.cache.snapshot(commit), path), 'utf8'),
    })
  }

  #failure(problem: Problem, isPartlyCached: boolean): Problem {
    const { kind, message, cause } = problem
    if (kind === 'disk') return problem
    const what = problem.code === 'ERR_MODEL_NOT_FOUND' ? 'no model' : 'cannot download the model'
    const has = isPartlyCached ? 'a part of it only' : `no revision '${this.#revision}' of it`
    return new Problem(
      kind,
      `${what} '${this.model}': ${message}. The cache ${this.cache.folder} has ${has}, and there is no folder ` +
        `${resolve(this.model)}`,
      { cause },
    )
  }
}

export function isWhole({ config, weights }: Choice): boolean {
  return config !== undefined && weights.length > 0
}

function noWeights(paths: Iterable<string>): Problem {
  const found = [...paths].filter(looksLikeWeights).slice(0, 5)
  const has =
    found.length === 0 ? 'no weights' : `no weights in a format that this package reads, only ${found.join(', ')}`
  return new Problem('missing', `the repository has ${has}`)
}
