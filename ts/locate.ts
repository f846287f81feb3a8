import type { LoadRequest } from './binding.ts'
import { readModel } from './inputs.ts'
import { defaultModelFolder, packageFolders } from './packages.ts'

export interface Place {
  request: Pick<LoadRequest, 'model' | 'packageFolders' | 'revision' | 'cacheDir'>
}

export interface LocateOptions {
  revision: string | undefined
  cacheDir: string | undefined
  signal: AbortSignal | undefined
}

/** Where a model is. */
export async function locate(model: string | undefined, { revision, cacheDir }: LocateOptions): Promise<Place> {
  if (model === undefined) return { request: { model: defaultModelFolder(), packageFolders: [] } }
  const name = readModel(model)
  const request: Place['request'] = { model: name, packageFolders: packageFolders(name) }
  if (revision !== undefined) request.revision = revision
  if (cacheDir !== undefined) request.cacheDir = cacheDir
  return { request }
}
