import type { NativeInput } from './binding.ts'

/** An input that was read and is not yet sent. */
export interface Waiting<I> {
  index: number
  input: I
  native: NativeInput
  /** How long it is, in bytes of UTF-8 or ids; and about how many tokens that is. */
  size: number
  tokens: number
}

/** Special tokens of an input. */
const SPECIAL = 2

/**
 * About how many tokens inputs have. Tokenizing only to count would do that work twice; the length in bytes tells it about as
 * well, once some inputs of the same source have been tokenized.
 */
export class TokenEstimate {
  /** English has about a token every four bytes, Chinese one every three; source code and numbers have more. */
  #tokensPerByte = 0.3

  sizeOf(input: NativeInput): number {
    if (input.ids !== undefined) return input.ids.length
    const texts = input.words ?? [input.text ?? '', input.pair ?? '']
    return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  }

  tokensOf(input: NativeInput, size: number): number {
    if (input.ids !== undefined) return size
    return SPECIAL + Math.max(Math.ceil(size * this.#tokensPerByte), input.words?.length ?? 0)
  }

  /** Learns from a batch that has been tokenized. */
  learn(batch: readonly Waiting<unknown>[], tokens: number): void {
    if (batch.some(({ native }) => native.ids !== undefined)) return
    const bytes = batch.reduce((sum, { size }) => sum + size, 0)
    const seen = (tokens - SPECIAL * batch.length) / bytes
    if (bytes > 0 && seen > 0) this.#tokensPerByte += (seen - this.#tokensPerByte) / 2
  }
}

/** What was read and not yet sent, in the order of reading. */
export class Pool<T extends { index: number; tokens: number }> {
  #items: T[] = []
  #tokens = 0

  get size(): number {
    return this.#items.length
  }

  /** About how many tokens wait. */
  get tokens(): number {
    return this.#tokens
  }

  add(item: T): void {
    this.#items.push(item)
    this.#tokens += item.tokens
  }

  /** Forgets the inputs from `index` on. */
  dropFrom(index: number): void {
    this.#keep(this.#items.filter(item => item.index < index))
  }

  /**
   * Takes the next batch: the oldest input, so that results keep coming, and those nearest to it in length, in the order of
   * length, with at most `budget` tokens. An input of more tokens is alone.
   */
  take(budget: number): T[] {
    const byLength = this.#items.toSorted((a, b) => a.tokens - b.tokens)
    const [oldest] = this.#items
    if (oldest === undefined || this.#tokens <= budget) {
      this.#keep([])
      return byLength
    }
    const distance = (at: number) => Math.abs((byLength[at]?.tokens ?? Number.POSITIVE_INFINITY) - oldest.tokens)
    // byLength[from..to) is taken: it grows to whichever side is nearer in length.
    let from = byLength.indexOf(oldest)
    let to = from + 1
    for (let tokens = oldest.tokens; to - from < byLength.length; ) {
      const shorter = distance(from - 1) <= distance(to)
      tokens += byLength[shorter ? from - 1 : to]!.tokens
      if (tokens > budget) break
      if (shorter) from--
      else to++
    }
    const batch = byLength.slice(from, to)
    const taken = new Set(batch)
    this.#keep(this.#items.filter(item => !taken.has(item)))
    return batch
  }

  #keep(items: T[]): void {
    this.#items = items
    this.#tokens = items.reduce((sum, { tokens }) => sum + tokens, 0)
  }
}
