import type { StreamedVectors as Contract, EmbedInput, Precision, VectorData } from '../index.d.ts'
import { Embeddings } from './embeddings.ts'

/** One input's part of a batch, as a copy: a view that somebody keeps would keep the whole batch. */
export class StreamedVectors<I extends EmbedInput, P extends Precision> implements Contract<I, P> {
  readonly index: number
  readonly input: I
  readonly vectors: Embeddings<P>

  constructor(batch: Embeddings<P>, at: number, index: number, input: I) {
    this.index = index
    this.input = input
    this.vectors = Embeddings.copyOf(batch, at)
  }

  get vector(): VectorData[P] {
    return this.vectors.get(0)
  }
}
