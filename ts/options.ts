import type {
  DecodeOptions,
  Device,
  Dtype,
  EncodeOptions,
  FromPretrainedOptions,
  LastLayer,
  ProgressCallback,
  TokenizeOptions,
} from '../index.d.ts'
import { invalidInput } from './errors.ts'
import { readOverflow } from './overflow.ts'
import { checkCount, checkKeys, checkText, describe, describeNumber, isObject, isTilde } from './validate.ts'

const DTYPES: Record<string, Dtype> = {
  float32: 'float32',
  bfloat16: 'bfloat16',
  float16: 'float16',
  int8: 'int8',
  fp32: 'float32',
  bf16: 'bfloat16',
  fp16: 'float16',
  q8: 'int8',
}

const DEVICE = /^(auto|cpu|cuda(:(0|[1-9]\d{0,3}))?|metal)$/
const MAX_THREADS = 1024
/** By default. More than a program means to have; a mistake that makes calls without end is found before memory is. */
const MAX_QUEUE = 10_000
/** What the native side's integers hold; no model has so many layers. */
const MAX_LAYER = 0x7fff_ffff

/** Each key of an options type once: the compiler says when one is missing or too many. */
export function keysOf<T>(keys: Record<keyof T, true>): readonly string[] {
  return Object.keys(keys)
}

const LOAD_KEYS = keysOf<FromPretrainedOptions>({
  device: true,
  dtype: true,
  lastLayer: true,
  revision: true,
  cacheDir: true,
  localFilesOnly: true,
  progressCallback: true,
  threads: true,
  maxQueue: true,
  signal: true,
})
const TOKENIZE_KEYS = keysOf<TokenizeOptions>({ addSpecialTokens: true, signal: true })
export const ENCODE_KEYS = keysOf<EncodeOptions>({
  layers: true,
  addSpecialTokens: true,
  overflow: true,
  words: true,
  pooler: true,
  attentions: true,
  signal: true,
})
const DECODE_KEYS = keysOf<DecodeOptions>({ skipSpecialTokens: true })

export function readLoadOptions(value: unknown) {
  const options = readOptions<FromPretrainedOptions>(value, LOAD_KEYS)
  const {
    device = 'auto',
    dtype = 'float32',
    lastLayer = 'after-norm',
    revision,
    cacheDir,
    localFilesOnly,
    progressCallback,
    threads,
    maxQueue,
    signal,
  } = options
  return {
    device: checkDevice(device),
    dtype: checkDtype(dtype),
    lastLayer: checkLastLayer(lastLayer),
    revision: optionalText(revision, 'revision'),
    cacheDir: optionalFolder(cacheDir, 'cacheDir'),
    localFilesOnly: checkBoolean(localFilesOnly, 'localFilesOnly', false),
    progressCallback: checkCallback(progressCallback, 'progressCallback'),
    threads: checkThreads(threads),
    maxQueue: maxQueue === undefined ? MAX_QUEUE : checkCount(maxQueue, 'option maxQueue', 1),
    signal: checkSignal(signal),
  }
}

export function readTokenizeOptions(value: unknown) {
  const { addSpecialTokens, signal } = readOptions<TokenizeOptions>(value, TOKENIZE_KEYS)
  return {
    addSpecialTokens: checkBoolean(addSpecialTokens, 'addSpecialTokens', true),
    signal: checkSignal(signal),
  }
}

export function readEncodeOptions(value: unknown) {
  const options = readOptions<EncodeOptions>(value, ENCODE_KEYS)
  const { layers = 'all', addSpecialTokens, overflow, words, pooler, attentions, signal } = options
  return {
    layers: checkLayers(layers),
    overflow: readOverflow(overflow),
    words: checkWords(words),
    addSpecialTokens: checkBoolean(addSpecialTokens, 'addSpecialTokens', true),
    pooler: checkBoolean(pooler, 'pooler', false),
    attentions: checkBoolean(attentions, 'attentions', false),
    signal: checkSignal(signal),
  }
}

export function readDecodeOptions(value: unknown) {
  const { skipSpecialTokens } = readOptions<DecodeOptions>(value, DECODE_KEYS)
  return { skipSpecialTokens: checkBoolean(skipSpecialTokens, 'skipSpecialTokens', false) }
}

function checkWords(value: unknown): string | undefined {
  if (value === undefined || value === 'first' || value === 'last' || value === 'mean' || value === 'max') return value
  throw invalidInput(`option words must be first, last, mean or max, not ${describe(value)}`)
}

/** The type's own name for a dtype or one of transformers.js' names. */
export function checkDtype(value: unknown): Dtype {
  const dtype = typeof value === 'string' && Object.hasOwn(DTYPES, value) ? DTYPES[value] : undefined
  if (dtype !== undefined) return dtype
  throw invalidInput(`option dtype must be one of ${Object.keys(DTYPES).join(', ')}, not ${describe(value)}`)
}

export function checkLastLayer(value: unknown): LastLayer {
  if (value === 'after-norm' || value === 'before-norm') return value
  throw invalidInput(`option lastLayer must be after-norm or before-norm, not ${describe(value)}`)
}

export function checkDevice(value: unknown): Device {
  if (typeof value === 'string' && DEVICE.test(value)) return value as Device
  throw invalidInput(`option device must be auto, cpu, cuda, cuda:N or metal, not ${describe(value)}`)
}

export function checkThreads(value: unknown): number | undefined {
  if (value === undefined) return undefined
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_THREADS) return value as number
  throw invalidInput(`option threads must be a whole number from 1 to ${MAX_THREADS}, not ${describe(value)}`)
}

/** Layers as Rust takes them: undefined for all. Whether the model has them is for Rust to say. */
export function checkLayers(value: unknown): number[] | undefined {
  if (value === 'all') return undefined
  const layers: unknown[] | undefined =
    typeof value === 'number' ? [value] : Array.isArray(value) ? [...value] : undefined
  if (layers === undefined) {
    throw invalidInput(`option layers must be 'all', a number or an array of numbers, not ${describe(value)}`)
  }
  for (const layer of layers) {
    if (!Number.isInteger(layer)) {
      throw invalidInput(`option layers must hold whole numbers of layers, not ${describeNumber(layer)}`)
    }
    if (Math.abs(layer as number) > MAX_LAYER) {
      throw invalidInput(`layer ${describeNumber(layer)} does not exist: no model has that many`)
    }
  }
  return layers as number[]
}

export function readOptions<T>(value: unknown, keys: readonly string[]): { [K in keyof T]?: unknown } {
  if (value === undefined) return {}
  if (!isObject(value)) throw invalidInput(`options must be an object, not ${describe(value)}`)
  return checkKeys(value, keys, 'option') as { [K in keyof T]?: unknown }
}

export function checkBoolean(value: unknown, name: string, byDefault: boolean): boolean {
  if (value === undefined) return byDefault
  if (typeof value === 'boolean') return value
  throw invalidInput(`option ${name} must be true or false, not ${describe(value)}`)
}

export function checkCallback(value: unknown, name: string): ProgressCallback | undefined {
  if (value === undefined || typeof value === 'function') return value as ProgressCallback | undefined
  throw invalidInput(`option ${name} must be a function, not ${describe(value)}`)
}

export function optionalText(value: unknown, name: string): string | undefined {
  if (value === undefined) return undefined
  const text = checkText(value, `option ${name}`)
  if (text !== '') return text
  throw invalidInput(`option ${name} must not be empty`)
}

/** A folder, by its whole path: a folder that is named ~ is nobody's wish. */
export function optionalFolder(value: unknown, name: string): string | undefined {
  const folder = optionalText(value, name)
  if (folder === undefined || !isTilde(folder)) return folder
  throw invalidInput(`option ${name} is ${folder}: no shell expands ~ here, give the whole path`)
}

/** By its methods, not its class: signals of other realms and of polyfills are as good. */
export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined
  if (isObject(value) && 'aborted' in value && 'addEventListener' in value && 'throwIfAborted' in value) {
    return value as AbortSignal
  }
  throw invalidInput(`option signal must be an AbortSignal, not ${describe(value)}`)
}
