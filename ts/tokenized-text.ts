import { type InspectOptionsStylized, inspect } from 'node:util'
import type { TokenizedText as Contract, Word } from '../index.d.ts'
import type { NativeCuts, NativeEncoder, NativeInput, NativeTokens, NativeWords } from './binding.ts'

/** What Rust says of a batch's texts. */
interface Answer {
  tokens: NativeTokens
  words?: NativeWords
  cuts?: NativeCuts
}

/** What the texts of a batch share. */
interface Batch {
  encoder: NativeEncoder
  columns: NativeTokens
  words: NativeWords | undefined
  cuts: NativeCuts | undefined
}

/**
 * A text's rows of the native columns, as plain arrays. Each is made when it is first read: who only wants hidden states pays
 * for none of them, and a batch of many texts is little more than their number.
 */
export class TokenizedText implements Contract {
  readonly text: string | undefined
  readonly pair: string | undefined
  readonly #batch: Batch
  readonly #index: number
  readonly #givenWords: readonly string[] | undefined
  #made: Map<string, unknown> | undefined

  constructor(batch: Batch, input: NativeInput, index: number) {
    this.text = input.text
    this.pair = input.pair
    this.#batch = batch
    this.#index = index
    this.#givenWords = input.words
  }

  get tokens(): string[] {
    return this.#once('tokens', () => Array.from(this.#batch.encoder.idsToTokens(this.#rows('ids')) ?? []))
  }

  get ids(): number[] {
    return this.#once('ids', () => Array.from(this.#rows('ids')))
  }

  get typeIds(): number[] {
    return this.#once('typeIds', () => Array.from(this.#rows('typeIds')))
  }

  get offsets(): [start: number, end: number][] {
    return this.#once('offsets', () => {
      if (this.tokens.length === 0) return []
      const { offsets, starts } = this.#batch.columns
      const start = starts[this.#index]!
      return pairs(offsets.subarray(2 * start, 2 * (start + this.ids.length)))
    })
  }

  get wordIds(): (number | null)[] {
    return this.#once('wordIds', () => nullable(this.#rows('wordIds')))
  }

  get sequenceIds(): (number | null)[] {
    return this.#once('sequenceIds', () => nullable(this.#rows('sequenceIds')))
  }

  get specialTokensMask(): number[] {
    return this.#once('specialTokensMask', () => Array.from(this.#rows('specialTokensMask')))
  }

  get unknownTokens(): number[] {
    return this.#once('unknownTokens', () =>
      Array.from(this.#rows('unknown')).flatMap((unknown, token) => (unknown ? [token] : [])),
    )
  }

  get words(): Word[] | undefined {
    const { words } = this.#batch
    return words && this.#once('words', () => this.#readWords(words))
  }

  get truncated(): number {
    return this.#batch.cuts?.truncated[this.#index] ?? 0
  }

  get sampled(): [start: number, end: number][] | undefined {
    const drawn = this.#batch.cuts?.sampled[this.#index]
    return drawn ? this.#once('sampled', () => pairs(drawn)) : undefined
  }

  toJSON(): Omit<Contract, 'toJSON'> {
    const { text, pair, tokens, ids, typeIds, offsets, wordIds, sequenceIds, specialTokensMask, unknownTokens } = this
    const { words, truncated, sampled } = this
    const columns = { tokens, ids, typeIds, offsets, wordIds, sequenceIds, specialTokensMask, unknownTokens }
    return { text, pair, ...columns, words, truncated, sampled }
  }

  /** Getters would be hidden from console.log. */
  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    return `TokenizedText ${inspect(this.toJSON(), options)}`
  }

  #readWords({ starts, wordIds, sequenceIds, tokens }: NativeWords): Word[] {
    const [from, to] = [starts[this.#index]!, starts[this.#index + 1]!]
    const ranges = pairs(tokens.subarray(2 * from, 2 * to))
    return ranges.map(([start, end], at) => {
      const [wordId, sequenceId] = [wordIds[from + at]!, sequenceIds[from + at]!]
      const given = this.#givenWords?.[wordId]
      if (given !== undefined) {
        return { text: given, offsets: [0, given.length], wordId, sequenceId, tokens: [start, end] }
      }
      const offsets: [number, number] = [this.offsets[start]![0], this.offsets[end - 1]![1]]
      const whole = (sequenceId === 1 ? this.pair : this.text) ?? ''
      return { text: whole.slice(...offsets), offsets, wordId, sequenceId, tokens: [start, end] }
    })
  }

  #rows<C extends keyof NativeTokens>(column: C): NativeTokens[C] {
    const { [column]: rows, starts } = this.#batch.columns
    return rows.subarray(starts[this.#index], starts[this.#index + 1]) as NativeTokens[C]
  }

  #once<T>(name: string, make: () => T): T {
    this.#made ??= new Map()
    if (!this.#made.has(name)) this.#made.set(name, make())
    return this.#made.get(name) as T
  }
}

/** Every input as the model saw it. */
export function tokenizedTexts(encoder: NativeEncoder, answer: Answer, inputs: NativeInput[]): TokenizedText[] {
  const batch = { encoder, columns: answer.tokens, words: answer.words, cuts: answer.cuts }
  return inputs.map((input, index) => new TokenizedText(batch, input, index))
}

function pairs(flat: Uint32Array): [number, number][] {
  return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at]!, flat[2 * at + 1]!])
}

function nullable(column: Int32Array): (number | null)[] {
  return Array.from(column, value => (value < 0 ? null : value))
}
