import type { EmbedStreamOptions, EncodeStreamOptions, StreamOptions, StreamProgress } from '../index.d.ts'
import { readEmbedOptions } from './embed-options.ts'
import { invalidInput } from './errors.ts'
import { checkSignal, ENCODE_KEYS, keysOf, readEncodeOptions, readOptions } from './options.ts'
import type { StreamSettings } from './stream.ts'
import { checkCount, describe, isObject } from './validate.ts'

const STREAM_KEYS = keysOf<StreamOptions>({ batchTokens: true, window: true, progressCallback: true, signal: true })
/** Both have `signal`. */
const KEYS = [...new Set(['embed', ...STREAM_KEYS, ...ENCODE_KEYS])]

interface ToEncode extends StreamSettings {
  encode: ReturnType<typeof readEncodeOptions>
  embed?: undefined
}

interface ToEmbed extends StreamSettings {
  embed: ReturnType<typeof readEmbedOptions>
}

/**
 * `busyTokens`: how many tokens keep the encoder busy. A batch has several times as many, so that its end, where threads wait for
 * each other, is a small part of it: four times for vectors, twice for hidden states, whose results are large.
 */
export function readStreamOptions(value: unknown, busyTokens: number): ToEncode | ToEmbed {
  const options = readOptions<EncodeStreamOptions & EmbedStreamOptions>(value, KEYS)
  const { embed, batchTokens, window, progressCallback, signal, ...encode } = options
  const usual = (embed === undefined ? 2 : 4) * busyTokens
  const tokens = batchTokens === undefined ? usual : checkCount(batchTokens, 'option batchTokens', 1)
  const settings: StreamSettings = {
    batchTokens: tokens,
    window: window === undefined ? Math.max(1024, Math.ceil(tokens / 2)) : checkCount(window, 'option window', 1),
    progressCallback: checkCallback<StreamProgress>(progressCallback, 'progressCallback'),
    signal: checkSignal(signal),
  }
  if (embed === undefined) return { ...settings, encode: readEncodeOptions(encode) }
  for (const key of Object.keys(encode))
    throw invalidInput(`option ${key} does not go with embed: options of vectors go in embed`)
  return { ...settings, embed: readEmbedOptions(checkEmbed(embed)) }
}

function checkEmbed(value: unknown): object {
  if (value === true) return {}
  if (!isObject(value))
    throw invalidInput(`option embed must be true or the options of embed(), not ${describe(value)}`)
  if ('signal' in value) throw invalidInput('option embed: signal is an option of the stream, beside embed')
  return value
}

function checkCallback<T>(value: unknown, name: string): ((argument: T) => void) | undefined {
  if (value === undefined || typeof value === 'function') return value as ((argument: T) => void) | undefined
  throw invalidInput(`option ${name} must be a function, not ${describe(value)}`)
}
