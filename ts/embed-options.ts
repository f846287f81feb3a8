import type { EmbedOptions, Pool, Precision } from '../index.d.ts'
import type { EmbedRequest } from './binding.ts'
import { invalidInput } from './errors.ts'
import { checkBoolean, checkLayers, checkSignal, keysOf, readOptions } from './options.ts'
import { readOverflow } from './overflow.ts'
import { checkCount, checkKeys, checkText, describe, describeNumber, isArrayLike, isObject } from './validate.ts'

const EMBED_KEYS = keysOf<EmbedOptions>({
  layers: true,
  combine: true,
  pool: true,
  includeSpecialTokens: true,
  normalize: true,
  truncateDim: true,
  prompt: true,
  promptName: true,
  overflow: true,
  maxTokens: true,
  precision: true,
  signal: true,
})
const COMBINES = ['mean', 'sum', 'max', 'concat', 'none'] as const
const POOLS: readonly Pool[] = ['mean', 'cls', 'max', 'last', 'weightedmean', 'pooler']
const PRECISIONS: readonly Precision[] = ['float32', 'float16', 'int8', 'binary']

export function readEmbedOptions(value: unknown): { request: EmbedRequest; signal: AbortSignal | undefined } {
  const options = readOptions<EmbedOptions>(value, EMBED_KEYS)
  const { layers, pool, normalize, truncateDim, prompt, promptName, maxTokens, precision = 'float32' } = options
  const request: EmbedRequest = {
    allLayers: layers === 'all',
    includeSpecialTokens: checkBoolean(options.includeSpecialTokens, 'includeSpecialTokens', true),
    overflow: readOverflow(options.overflow),
    precision: oneOf(PRECISIONS, precision, 'precision'),
    ...readCombine(options.combine),
  }
  const kept = layers === undefined ? undefined : checkLayers(layers)
  if (kept !== undefined) request.layers = kept
  if (pool !== undefined) request.pool = checkPool(pool)
  if (normalize !== undefined) request.normalize = checkBoolean(normalize, 'normalize', false)
  if (truncateDim !== undefined) request.truncateDim = checkCount(truncateDim, 'option truncateDim', 1)
  if (maxTokens !== undefined) request.maxTokens = checkCount(maxTokens, 'option maxTokens', 1)
  if (prompt !== undefined) request.prompt = checkText(prompt, 'option prompt')
  if (promptName !== undefined) request.promptName = checkText(promptName, 'option promptName')
  if (prompt !== undefined && promptName !== undefined) {
    throw invalidInput(
      'options prompt and promptName cannot both be given: prompt is a text, promptName one of the model',
    )
  }
  return { request, signal: checkSignal(options.signal) }
}

export function checkPool(value: unknown): Pool {
  return oneOf(POOLS, value, 'pool')
}

function readCombine(value: unknown = 'mean'): Pick<EmbedRequest, 'combine' | 'weights' | 'gamma'> {
  if (isArrayLike(value)) return { combine: 'weights', weights: checkNumbers(value, 'combine') }
  if (!isObject(value)) {
    return { combine: oneOf(COMBINES, value, 'combine', ', an array of weights or { scalarMix, gamma? }') }
  }
  const { scalarMix, gamma = 1 } = checkKeys(value, ['scalarMix', 'gamma'], 'option combine: the field')
  if (!isArrayLike(scalarMix)) {
    throw invalidInput(`option combine: scalarMix must be an array of numbers, not ${describe(scalarMix)}`)
  }
  const weights = checkNumbers(scalarMix, 'combine: scalarMix')
  return { combine: 'scalarMix', weights, gamma: checkNumbers([gamma], 'combine: gamma')[0]! }
}

/** Numbers that float32 can hold. */
function checkNumbers(values: ArrayLike<unknown>, what: string): number[] {
  return Array.from(values, value => {
    if (typeof value === 'number' && Number.isFinite(Math.fround(value))) return value
    throw invalidInput(`option ${what} must hold finite numbers, not ${describeNumber(value)}`)
  })
}

function oneOf<T extends string>(known: readonly T[], value: unknown, name: string, others = ''): T {
  const found = known.find(each => each === value)
  if (found !== undefined) return found
  throw invalidInput(`option ${name} must be one of ${known.join(', ')}${others}, not ${describe(value)}`)
}
