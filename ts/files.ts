import type * as api from '../index.d.ts'
import { abortable } from './abort.ts'
import type { NativeConversion, NativeInspection } from './binding.ts'
import { invalidInput, settle } from './errors.ts'
import { readModel } from './inputs.ts'
import { explain, locate } from './locate.ts'
import { native } from './native.ts'
import { checkBoolean, checkCallback, checkDtype, checkSignal, keysOf, optionalText, readOptions } from './options.ts'
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
  const place = await locate(model, where)
  where.signal?.throwIfAborted()
  const { inspectModel, CancelFlag } = native()
  // Headers are read in a moment: an abort need not reach Rust.
  const seen = settle(() => inspectModel(place.request))
  return inspection(
    await abortable(where.signal, new CancelFlag(), seen).catch(error => {
      throw explain(error, place)
    }),
  )
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
    cacheDir: optionalText(options.cacheDir, 'cacheDir'),
    localFilesOnly: checkBoolean(options.localFilesOnly, 'localFilesOnly', false),
    progressCallback: checkCallback(options.progressCallback, 'progressCallback'),
    signal: checkSignal(options.signal),
  }
}

function inspection({ config, weights, memory, pooling, ...seen }: NativeInspection): api.Inspection {
  const { hasPooler = false, ...sizes } = config ?? {}
  return {
    ...seen,
    config: config && (sizes as api.EncoderConfig),
    hasPooler,
    ...(pooling !== undefined && { pooling: pooling as api.Pool }),
    weights: weights.map(({ format, dtypes, ...found }) => ({
      ...found,
      format: format as api.WeightFormat,
      dtypes: Object.fromEntries(dtypes.map(({ dtype, values }) => [dtype, values])),
    })),
    memory: Object.fromEntries(memory.map(({ dtype, bytes }) => [dtype, bytes])),
  }
}

function conversion({ format, ...done }: NativeConversion): api.Conversion {
  return { ...done, format: format as api.WeightFormat }
}
