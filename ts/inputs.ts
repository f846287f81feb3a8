import { isPromise } from 'node:util/types'
import type { IdsInput, TextInput, WordsInput } from '../index.d.ts'
import type { NativeInput } from './binding.ts'
import { BertLayersError, invalidInput } from './errors.ts'
import { checkKeys, checkText, copyIntegers, describe, describeNumber, isArrayLike, isObject } from './validate.ts'

const KINDS = '{ text, pair? }, { words } or { ids, typeIds?, attentionMask? }'

type Key = keyof TextInput | keyof WordsInput | keyof IdsInput
const KEYS = ['text', 'pair', 'words', 'ids', 'typeIds', 'attentionMask'] as const satisfies readonly Key[]

/** Checks what can be checked without the model, and copies what Rust will read while JavaScript runs on. */
export function readInputs(inputs: unknown): NativeInput[] {
  return readEach(inputs, readInput)
}

/** The same with spans of texts. */
export function readEmbedInputs(inputs: unknown): NativeInput[] {
  return readEach(inputs, readEmbedInput)
}

function readEach(inputs: unknown, read: (input: unknown, what: string) => NativeInput): NativeInput[] {
  if (!Array.isArray(inputs)) return [read(inputs, 'text 0')]
  if (inputs.length === 0) throw invalidInput('the array of inputs is empty: give at least one text')
  return Array.from(inputs, (input: unknown, index) => read(input, `text ${index}`))
}

/** The same with spans of a text. */
export function readEmbedInput(input: unknown, what: string): NativeInput {
  if (!isObject(input) || !('spans' in input)) return readInput(input, what)
  const { spans, ...others } = input
  const read = readInput(others, what)
  if (spans === undefined) return read
  if (read.text === undefined || read.pair !== undefined)
    throw invalidInput(`${what}: spans go with a single text only`)
  return { ...read, spans: readSpans(spans, read.text.length, what) }
}

function readSpans(spans: unknown, length: number, what: string): Uint32Array {
  if (!Array.isArray(spans))
    throw invalidInput(`${what}: spans must be an array of [start, end], not ${describe(spans)}`)
  if (spans.length === 0) throw invalidInput(`${what}: spans is empty: give at least one, or leave it out`)
  return Uint32Array.from(
    spans.flatMap((span: unknown, index) => {
      const isPair = isArrayLike(span) && span.length === 2
      if (!isPair) {
        const given = isArrayLike(span) ? `an array of ${span.length}` : describe(span)
        throw invalidInput(`${what}: span ${index} must be [start, end], two numbers, not ${given}`)
      }
      const [start, end] = [span[0], span[1]]
      if (Number.isInteger(start) && Number.isInteger(end)) {
        const bounds = [start as number, end as number] as const
        if (0 <= bounds[0] && bounds[0] < bounds[1] && bounds[1] <= length) return bounds
      }
      const given = `[${describeNumber(start)}, ${describeNumber(end)}]`
      throw invalidInput(
        `${what}: span ${index} must have 0 <= start < end <= ${length}, the text's length; it is ${given}`,
      )
    }),
  )
}

/** One input; `what` it is called in errors. */
export function readInput(input: unknown, what: string): NativeInput {
  if (typeof input === 'string') return { text: checkText(input, what) }
  if (!isObject(input) || isPromise(input))
    throw invalidInput(`${what} must be a string, ${KINDS}, not ${describe(input)}${advice(input)}`)
  const fields: { [K in Key]?: unknown } = checkKeys(input, KEYS, `${what}: the field`)
  const kinds = (['text', 'words', 'ids'] as const).filter(kind => fields[kind] !== undefined)
  if (kinds.length !== 1) {
    const found = kinds.length === 0 ? 'none of text, words and ids' : kinds.join(' and ')
    throw invalidInput(`${what} must be a string, ${KINDS}; it has ${found}`)
  }
  const kind = kinds[0]
  if (kind !== 'text') refuse(fields.pair, `${what}: pair goes with text only`)
  if (kind !== 'ids')
    refuse(fields.typeIds ?? fields.attentionMask, `${what}: typeIds and attentionMask go with ids only`)
  if (kind === 'text') return readText(fields, what)
  return kind === 'words' ? readWords(fields.words, what) : readIds(fields, what)
}

function readText({ text, pair }: { text?: unknown; pair?: unknown }, what: string): NativeInput {
  const first = checkText(text, what)
  return pair === undefined ? { text: first } : { text: first, pair: checkText(pair, `${what}: pair`) }
}

function readWords(words: unknown, what: string): NativeInput {
  if (!Array.isArray(words)) throw invalidInput(`${what}: words must be an array of strings, not ${describe(words)}`)
  if (words.length === 0) throw invalidInput(`${what}: words is empty: give at least one word`)
  return { words: Array.from(words, (word: unknown, index) => checkText(word, `${what}: word ${index}`)) }
}

function readIds(fields: { [K in keyof IdsInput]?: unknown }, what: string): NativeInput {
  const ids = copyIntegers(fields.ids, `${what}: ids`)
  if (ids.length === 0) throw invalidInput(`${what}: ids is empty: give at least one id`)
  const input: NativeInput = { ids }
  if (fields.typeIds !== undefined) {
    input.typeIds = copyIntegers(fields.typeIds, `${what}: typeIds`)
    checkLength(input.typeIds, ids, `${what}: typeIds`)
  }
  if (fields.attentionMask !== undefined) {
    input.attentionMask = copyMask(fields.attentionMask, `${what}: attentionMask`)
    checkLength(input.attentionMask, ids, `${what}: attentionMask`)
  }
  return input
}

function copyMask(value: unknown, what: string): Uint8Array {
  if (!isArrayLike(value)) throw invalidInput(`${what} must be an array of 0 and 1, not ${describe(value)}`)
  return Uint8Array.from(value, (item, index) => {
    if (item === 0 || item === 1 || typeof item === 'boolean') return Number(item)
    throw invalidInput(
      `${what} must hold 0 and 1, or false and true: at position ${index} it has ${describeNumber(item)}`,
    )
  })
}

function checkLength(column: ArrayLike<number>, ids: ArrayLike<number>, what: string): void {
  if (column.length !== ids.length) throw invalidInput(`${what} has ${column.length} entries for ${ids.length} ids`)
}

function refuse(value: unknown, message: string): void {
  if (value !== undefined) throw invalidInput(message)
}

function advice(input: unknown): string {
  if (isPromise(input)) return ': await it first'
  if (typeof input === 'number' || typeof input === 'bigint' || ArrayBuffer.isView(input))
    return ': token ids go in { ids }'
  return Array.isArray(input) ? ': a pair goes in { text, pair }, split words in { words }' : ''
}

/** What a stream reads its inputs from. */
export function readSource<I>(source: unknown): Iterable<I> | AsyncIterable<I> {
  const iterable = isObject(source) || Array.isArray(source)
  if (iterable && (Symbol.asyncIterator in source || Symbol.iterator in source)) return source as Iterable<I>
  throw invalidInput(
    'the source must give its inputs one by one, as an array, a generator, a readable stream of lines or anything else with ' +
      `[Symbol.iterator] or [Symbol.asyncIterator] does; it is ${describe(source)}`,
  )
}

/** Ids to be decoded. */
export function readIdsToDecode(value: unknown): Uint32Array {
  return copyIntegers(value, 'ids')
}

/** A model's name as the user gave it. */
export function readModel(model: unknown): string {
  if (typeof model !== 'string') {
    throw invalidInput(
      `the model must be a string, a folder or a name, not ${describe(model)}; options come second: ` +
        'fromPretrained(undefined, options) for the default model',
    )
  }
  const name = checkText(model, 'the model')
  if (name === '' || name.includes('\0')) {
    throw new BertLayersError('ERR_MODEL_NOT_FOUND', `no model is named ${describe(name)}: give a folder or a name`)
  }
  return name
}
