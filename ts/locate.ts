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
  /** Why the hub was not asked, for the message if nothing is found. */
  hint: string
}

export interface LocateOptions {
  revision: string | undefined
  cacheDir: string | undefined
  localFilesOnly: boolean
  progressCallback: ProgressCallback | undefined
  signal: AbortSignal | undefined
}

/**
 * Where a model is. A folder or an installed package of that name needs no network; any other name is the hub's, and is in the
 * cache when this returns. Without the network Rust looks it up in the cache as it is, and says what it did not find.
 */
export async function locate(model: string | undefined, options: LocateOptions): Promise<Place> {
  if (model === undefined) return { request: { model: defaultModelFolder(), packageFolders: [] }, hint: '' }
  const name = readModel(model)
  const { revision, cacheDir, localFilesOnly, progressCallback, signal } = options
  if (revision !== undefined && isFolder(name)) {
    throw invalidInput(`option revision is of models on the hub, and ${name} is a folder: leave it out`)
  }
  // A package has no revisions.
  const packages = revision === undefined ? packageFolders(name) : []
  const isLocal = existsSync(name) || packages.some(folder => existsSync(join(folder, 'config.json')))
  const offline = localFilesOnly ? 'option localFilesOnly is true' : offlineVariable()
  if (isLocal || !isHubName(name) || offline !== undefined) {
    const request: Place['request'] = { model: name, packageFolders: packages }
    if (revision !== undefined) request.revision = revision
    if (cacheDir !== undefined) request.cacheDir = cacheDir
    return {
      request,
      hint: isTilde(name)
        ? '. No shell expands ~ here: give the whole path'
        : offline === undefined || !isHubName(name)
          ? ''
          : `. Nothing is downloaded, because ${offline}`,
    }
  }
  // Not before it is needed: it brings an HTTP client.
  const { hubSnapshot } = await import('./hub/snapshot.ts')
  const folder = await hubSnapshot({ model: name, revision, cacheDir, progressCallback, signal })
  return { request: { model: folder, packageFolders: [] }, hint: '' }
}

function isFolder(name: string): boolean {
  return statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** The error of a place where nothing was found, with the reason why the hub was not asked. */
export function explain(error: unknown, { hint }: Place): unknown {
  const isNotFound = error instanceof BertLayersError && error.code === 'ERR_MODEL_NOT_FOUND'
  return isNotFound ? new BertLayersError(error.code, error.message + hint) : error
}
