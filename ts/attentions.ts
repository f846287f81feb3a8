import { invalidInput } from './errors.ts'
import { describe } from './validate.ts'

/** Views of one buffer [block][text][head][query][key], in which a text of n tokens has n × n for each head. */
export class Attentions {
  readonly #data: Float32Array
  readonly #heads: number
  /** Where each text's weights start within a block, and at the end a block's size. */
  readonly #starts: number[] = [0]

  /** `tokens`: where each text's tokens start, and their number at the end. */
  constructor(data: Float32Array, tokens: Uint32Array, heads: number) {
    this.#data = data
    this.#heads = heads
    for (let text = 0; text + 1 < tokens.length; text++) {
      this.#starts.push(this.#starts[text]! + heads * (tokens[text + 1]! - tokens[text]!) ** 2)
    }
  }

  /** [query][key]; `block` counts those that were kept. */
  get(block: number, head: number, text: number): Float32Array {
    if (!Number.isInteger(head) || head < 0 || head >= this.#heads) {
      throw invalidInput(`there are heads 0 to ${this.#heads - 1}, not ${describe(head)}`)
    }
    const size = (this.#starts[text + 1]! - this.#starts[text]!) / this.#heads
    const start = block * this.#starts.at(-1)! + this.#starts[text]! + head * size
    return this.#data.subarray(start, start + size)
  }
}
