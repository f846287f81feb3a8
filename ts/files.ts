import type * as api from '../index.d.ts'
import { abortable } from './abort.ts'
import type { NativeConversion } from './binding.ts'
import { invalidInput, settle } from './errors.ts'
import { readModel } from './inputs.ts'
import { inspection, withNotice } from './inspection.ts'
import { explain, locate, locateHere } from './locate.ts'
import { native } from './native.ts'
import {
  checkBoolean,
  checkCallback,
  checkDtype,
  checkSignal,
  keysOf,
  optionalFolder,
  optionalText,
  readOptions,
} from './options.ts'
import { checkText, describe, isTilde } from './validate.ts'

const INSPECT_KEYS = keysOf<api.InspectOptions>({
  revision: true,
  cacheDir: true,
  localFilesOnly: true,
  progressCallback: true,
  signal: true,
})
const CONVERT_KEYS = keysOf<api.ConvertOptions>({
  dtype: true,
  force: true,
  revision: true,
  cacheDir: true,
  localFilesOnly: true,
  progressCallback: true,
  signal: true,
})

export async function inspect(model?: string, options?: api.InspectOptions): Promise<api.Inspection> {
  const where = readWhere(readOptions<api.InspectOptions>(options, INSPECT_KEYS))
  where.signal?.throwIfAborted()
  const place = locateHere(model, where)
  if (place === undefined) {
    const { inspectOnHub } = await import('./hub-inspection.ts')
    return inspectOnHub(readModel(model), where)
  }
  const { inspectModel, CancelFlag } = native()
  // Headers are read in a moment: an abort need not reach Rust.
  const seen = settle(() => inspectModel(place.request))
  const found = await abortable(where.signal, new CancelFlag(), seen).catch(error => {
    throw explain(error, place)
  })
  const { offline } = place
  return inspection(offline === undefined ? found : withNotice(found, `this is what the cache has, because ${offline}`))
}

export async function convert(source: string, target: string, options?: api.ConvertOptions): Promise<api.Conversion> {
  const given = readOptions<api.ConvertOptions>(options, CONVERT_KEYS)
  const where = readWhere(given)
  const force = checkBoolean(given.force, 'force', false)
  const dtype = given.dtype === undefined ? undefined : checkDtype(given.dtype)
  if (dtype === 'int8') {
    throw invalidInput('option dtype must be float32, float16 or bfloat16: int8 is made of them when a model is loaded')
  }
  const model = readModel(source)
  if (checkText(target, 'target') === '') throw invalidInput(`target must be a folder, not ${describe(target)}`)
  if (isTilde(target)) throw invalidInput(`target ${target}: no shell expands ~ here, give the whole path`)
  where.signal?.throwIfAborted()
  const place = await locate(model, where)
  where.signal?.throwIfAborted()
  const { convertModel, CancelFlag } = native()
  const cancel = new CancelFlag()
  const stop = () => cancel.cancel()
  where.signal?.addEventListener('abort', stop, { once: true })
  try {
    return conversion(await settle(() => convertModel(place.request, target, dtype, force, cancel)))
  } catch (error) {
    // Not before Rust has stopped: when the promise rejects, nothing partial is left.
    where.signal?.throwIfAborted()
    throw explain(error, place)
  } finally {
    where.signal?.removeEventListener('abort', stop)
  }
}

function readWhere(options: { [K in keyof api.InspectOptions]?: unknown }) {
  return {
    revision: optionalText(options.revision, 'revision'),
    cacheDir: optionalFolder(options.cacheDir, 'cacheDir'),
    localFilesOnly: checkBoolean(options.localFilesOnly, 'localFilesOnly', false),
    progressCallback: checkCallback(options.progressCallback, 'progressCallback'),
    signal: checkSignal(options.signal),
  }
}

function conversion({ format, ...done }: NativeConversion): api.Conversion {
  return { ...done, format: format as api.WeightFormat }
}
