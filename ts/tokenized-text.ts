import { type InspectOptionsStylized, inspect } from 'node:util'
import type { TokenizedText as Contract } from '../index.d.ts'
import type { NativeEncoder, NativeInput, NativeTokens } from './binding.ts'

/** What the texts of a batch share. */
interface Batch {
  encoder: NativeEncoder
  columns: NativeTokens
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
  #made: Map<string, unknown> | undefined

  constructor(batch: Batch, input: NativeInput, index: number) {
    this.text = input.text
    this.pair = input.pair
    this.#batch = batch
    this.#index = index
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
      return this.ids.map((_, token): [number, number] => {
        const at = 2 * (start + token)
        return [offsets[at]!, offsets[at + 1]!]
      })
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

  toJSON(): Omit<Contract, 'toJSON'> {
    const { text, pair, tokens, ids, typeIds, offsets, wordIds, sequenceIds, specialTokensMask, unknownTokens } = this
    return { text, pair, tokens, ids, typeIds, offsets, wordIds, sequenceIds, specialTokensMask, unknownTokens }
  }

  /** Getters would be hidden from console.log. */
  [inspect.custom](_depth: number, options: InspectOptionsStylized): string {
    return `TokenizedText ${inspect(this.toJSON(), options)}`
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
export function tokenizedTexts(encoder: NativeEncoder, columns: NativeTokens, inputs: NativeInput[]): TokenizedText[] {
  const batch = { encoder, columns }
  return inputs.map((input, index) => new TokenizedText(batch, input, index))
}

function nullable(column: Int32Array): (number | null)[] {
  return Array.from(column, value => (value < 0 ? null : value))
}
