import { type InspectOptionsStylized, inspect } from 'node:util'
import type { TokenizedText as Contract } from '../index.d.ts'
import type { NativeEncoder, NativeInput, NativeTokens } from './binding.ts'

/**
 * A text's rows of the native columns, as plain arrays. Each is made when it is first read: who only wants hidden states pays
 * for none of them.
 */
export class TokenizedText implements Contract {
  readonly text: string | undefined
  readonly pair: string | undefined
  readonly #encoder: NativeEncoder
  readonly #columns: NativeTokens
  readonly #start: number
  readonly #end: number
  readonly #made = new Map<string, unknown>()

  constructor(encoder: NativeEncoder, columns: NativeTokens, input: NativeInput, index: number) {
    this.text = input.text
    this.pair = input.pair
    this.#encoder = encoder
    this.#columns = columns
    this.#start = columns.starts[index]!
    this.#end = columns.starts[index + 1]!
  }

  get tokens(): string[] {
    return this.#once('tokens', () => Array.from(this.#encoder.idsToTokens(this.#rows(this.#columns.ids)) ?? []))
  }

  get ids(): number[] {
    return this.#once('ids', () => Array.from(this.#rows(this.#columns.ids)))
  }

  get typeIds(): number[] {
    return this.#once('typeIds', () => Array.from(this.#rows(this.#columns.typeIds)))
  }

  get offsets(): [start: number, end: number][] {
    return this.#once('offsets', () => {
      if (this.tokens.length === 0) return []
      const { offsets } = this.#columns
      return this.ids.map((_, token): [number, number] => {
        const at = 2 * (this.#start + token)
        return [offsets[at]!, offsets[at + 1]!]
      })
    })
  }

  get wordIds(): (number | null)[] {
    return this.#once('wordIds', () => nullable(this.#rows(this.#columns.wordIds)))
  }

  get sequenceIds(): (number | null)[] {
    return this.#once('sequenceIds', () => nullable(this.#rows(this.#columns.sequenceIds)))
  }

  get specialTokensMask(): number[] {
    return this.#once('specialTokensMask', () => Array.from(this.#rows(this.#columns.specialTokensMask)))
  }

  get unknownTokens(): number[] {
    return this.#once('unknownTokens', () =>
      Array.from(this.#rows(this.#columns.unknown)).flatMap((unknown, token) => (unknown ? [token] : [])),
    )
  }

  toJSON(): Omit<Contract, 'toJSON'> {
    const { text, pair, tokens, ids, typeIds, offsets, wordIds, sequenceIds, specialTokensMask, unknownTokens } = this
    return { text, pair, tokens, ids, typeIds, offsets, wordIds, sequenceIds, specialTokensMask, unknownTokens }
  }

  /** Getters would be hidden from console.log. */
  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    return `TokenizedText ${inspect(this.toJSON(), options)}`
  }

  #rows<T extends Uint8Array | Uint32Array | Int32Array>(column: T): T {
    return column.subarray(this.#start, this.#end) as T
  }

  #once<T>(name: string, make: () => T): T {
    if (!this.#made.has(name)) this.#made.set(name, make())
    return this.#made.get(name) as T
  }
}

/** Every input as the model saw it. */
export function tokenizedTexts(encoder: NativeEncoder, columns: NativeTokens, inputs: NativeInput[]): TokenizedText[] {
  return inputs.map((input, index) => new TokenizedText(encoder, columns, input, index))
}

function nullable(column: Int32Array): (number | null)[] {
  return Array.from(column, value => (value < 0 ? null : value))
}
