import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ProgressCallback } from '../index.d.ts'
import type { LoadRequest } from './binding.ts'
import { BertLayersError, invalidInput } from './errors.ts'
import { isHubName } from './hub/names.ts'
import { offlineVariable } from './hub/settings.ts'
import { readModel } from './inputs.ts'
import { defaultModelFolder, packageFolders } from './packages.ts'
import { isTilde } from './validate.ts'

export interface Place {
  request: Pick<LoadRequest, 'model' | 'packageFolders' | 'revision' | 'cacheDir'>
  /** Why the hub is not asked for a model of this name, where it is one of the hub's. */
  offline?: string
}

export interface LocateOptions {
  revision: string | undefined
  cacheDir: string | undefined
  localFilesOnly: boolean
  progressCallback: ProgressCallback | undefined
  signal: AbortSignal | undefined
}

/** Where a model is; one of the hub's is in the cache when this returns. */
export async function locate(model: string | undefined, options: LocateOptions): Promise<Place> {
  const here = locateHere(model, options)
  if (here !== undefined) return here
  const { revision, cacheDir, progressCallback, signal } = options
  // Not before it is needed: it brings an HTTP client.
  const { hubSnapshot } = await import('./hub/snapshot.ts')
  const folder = await hubSnapshot({ model: readModel(model), revision, cacheDir, progressCallback, signal })
  return { request: { model: folder, packageFolders: [] } }
}

/**
 * Where a model is, if the hub need not be asked. A folder or an installed package of that name needs no network; any other name is
 * the hub's. Without the network Rust looks it up in the cache as it is, and says what it did not find.
 */
export function locateHere(model: string | undefined, options: LocateOptions): Place | undefined {
  const { revision, cacheDir, localFilesOnly } = options
  if (model === undefined) {
    if (revision === undefined) return { request: { model: defaultModelFolder(), packageFolders: [] } }
    throw invalidInput('option revision is of models on the hub: name one, or leave it out for the default model')
  }
  const name = readModel(model)
  if (revision !== undefined && isFolder(name)) {
    throw invalidInput(`option revision is of models on the hub, and ${name} is a folder: leave it out`)
  }
  const packages = packageFolders(name)
  const isPackage = packages.some(folder => existsSync(join(folder, 'config.json')))
  if (revision !== undefined && isPackage) {
    throw invalidInput(`option revision is of models on the hub, and ${name} is an installed package: leave it out`)
  }
  const isLocal = existsSync(name) || isPackage
  const offline = localFilesOnly ? 'option localFilesOnly is true' : offlineVariable()
  const isOnHub = !isLocal && isHubName(name)
  if (isOnHub && offline === undefined) return undefined
  const request: Place['request'] = { model: name, packageFolders: packages }
  if (revision !== undefined) request.revision = revision
  if (cacheDir !== undefined) request.cacheDir = cacheDir
  return isOnHub && offline !== undefined ? { request, offline } : { request }
}

function isFolder(name: string): boolean {
  return statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** The error of a place where nothing was found, with the reason why the hub was not asked. */
export function explain(error: unknown, { request: { model }, offline }: Place): unknown {
  if (!(error instanceof BertLayersError) || error.code !== 'ERR_MODEL_NOT_FOUND') return error
  if (offline !== undefined) {
    return new BertLayersError(error.code, `${error.message}. Nothing is downloaded, because ${offline}`)
  }
  if (model.startsWith('file:')) {
    return new BertLayersError(
      error.code,
      `${error.message}. A path is wanted: fileURLToPath of node:url makes one of a URL`,
    )
  }
  return isTilde(model)
    ? new BertLayersError(error.code, `${error.message}. No shell expands ~ here: give the whole path`)
    : error
}
