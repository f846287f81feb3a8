import type { StreamedStates as Contract, EncoderInput, TokenizedText } from '../index.d.ts'
import type { HiddenStates } from './hidden-states.ts'

/** One input's part of a batch. What it gives are copies: a view that somebody keeps would keep the whole batch. */
export class StreamedStates<I extends EncoderInput> implements Contract<I> {
  readonly index: number
  readonly input: I
  readonly #batch: HiddenStates
  readonly #at: number

  constructor(batch: HiddenStates, at: number, index: number, input: I) {
    this.index = index
    this.input = input
    this.#batch = batch
    this.#at = at
  }

  get text(): TokenizedText {
    return this.#batch.texts[this.#at]!
  }

  get layers(): readonly number[] {
    return this.#batch.layers
  }

  get hiddenSize(): number {
    return this.#batch.hiddenSize
  }

  get poolerOutput(): Float32Array | undefined {
    const { poolerOutput, hiddenSize } = this.#batch
    return poolerOutput?.slice(this.#at * hiddenSize, (this.#at + 1) * hiddenSize)
  }

  get(layer: number): Float32Array {
    return this.#batch.get(layer, this.#at).slice()
  }

  token(layer: number, token: number): Float32Array {
    return this.#batch.token(layer, this.#at, token).slice()
  }

  attention(layer: number, head: number): Float32Array {
    return this.#batch.attention(layer, head, this.#at).slice()
  }
}
