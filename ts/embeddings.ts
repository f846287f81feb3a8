import type { Embeddings as Contract, Pool, Precision, TokenizedText, VectorData } from '../index.d.ts'
import type { NativeEmbeddings } from './binding.ts'
import { BertLayersError, invalidInput } from './errors.ts'
import { ofThisRealm } from './realm.ts'
import { describe } from './validate.ts'

/** What the vectors of all layers share. */
interface Batch {
  texts: readonly TokenizedText[]
  /** Where each text's vectors start within a layer, and their number at the end. */
  starts: Uint32Array
  /** Whether a text was given with spans. */
  hasSpans: readonly boolean[]
  pooling: Contract['pooling']
  normalized: boolean
  dim: number
  numLayers: number
}

/** Views of the one buffer that Rust wrote. */
export class Embeddings<P extends Precision> implements Contract<P> {
  readonly data: VectorData[P]
  readonly dim: number
  readonly precision: P
  readonly scales: Contract<P>['scales']
  readonly layers: readonly number[] | undefined
  readonly pooling: Contract['pooling']
  readonly normalized: boolean
  readonly texts: readonly TokenizedText[]
  readonly #batch: Batch

  constructor(
    batch: Batch,
    precision: P,
    data: VectorData[P],
    scales: Contract<P>['scales'],
    layers: readonly number[] | undefined,
  ) {
    this.data = data
    this.dim = batch.dim
    this.precision = precision
    this.scales = scales
    this.layers = layers
    this.pooling = batch.pooling
    this.normalized = batch.normalized
    this.texts = batch.texts
    this.#batch = batch
  }

  get(text: number, span?: number): VectorData[P] {
    if (this.layers !== undefined) throw invalidInput('each layer has its vectors (combine none): use layer(k).get(i)')
    const { texts, starts, hasSpans } = this.#batch
    if (!Number.isInteger(text) || text < 0 || text >= texts.length) {
      throw invalidInput(`there are texts 0 to ${texts.length - 1}, not ${describe(text)}`)
    }
    const [start, end] = [starts[text]!, starts[text + 1]!]
    if (!hasSpans[text]) {
      if (span === undefined) return this.#vectors(start, start + 1)
      throw invalidInput(`text ${text} was given without spans: it has one vector, get(${text})`)
    }
    if (!Number.isInteger(span) || span! < 0 || span! >= end - start) {
      throw invalidInput(`text ${text} has spans 0 to ${end - start - 1}, get(${text}, span): not ${describe(span)}`)
    }
    return this.#vectors(start + span!, start + span! + 1)
  }

  layer(layer: number): Contract<P> {
    const { numLayers, starts } = this.#batch
    if (this.layers === undefined) {
      throw invalidInput("the layers were combined into one vector: give combine: 'none' to have one of each layer")
    }
    const slot = this.layers.indexOf(layer < 0 ? numLayers + 1 + layer : layer)
    if (slot < 0) throw invalidInput(`layer ${describe(layer)} was not asked for; there are ${this.layers.join(', ')}`)
    const count = starts[starts.length - 1]!
    const scales = this.scales?.subarray(slot * count, (slot + 1) * count) as Contract<P>['scales']
    return new Embeddings(
      this.#batch,
      this.precision,
      this.#vectors(slot * count, (slot + 1) * count),
      scales,
      undefined,
    )
  }

  /** One text's vectors, with memory of their own. */
  static copyOf<P extends Precision>(all: Embeddings<P>, text: number): Embeddings<P> {
    const { starts, hasSpans } = all.#batch
    const [count, start, end] = [starts[starts.length - 1]!, starts[text]!, starts[text + 1]!]
    const slots = (all.layers ?? [0]).map((_, slot) => [slot * count + start, slot * count + end] as const)
    const data = joined(slots.map(([from, to]) => all.#vectors(from, to)))
    const scales = (all.scales &&
      joined(slots.map(([from, to]) => all.scales!.subarray(from, to)))) as Contract<P>['scales']
    const batch: Batch = {
      ...all.#batch,
      texts: [all.texts[text]!],
      starts: Uint32Array.of(0, end - start),
      hasSpans: [hasSpans[text]!],
    }
    return new Embeddings(batch, all.precision, data, scales, all.layers)
  }

  #vectors(from: number, to: number): VectorData[P] {
    const size = this.precision === 'binary' ? Math.ceil(this.dim / 8) : this.dim
    return this.data.subarray(from * size, to * size) as VectorData[P]
  }
}

/** A copy of arrays, one behind the other. */
function joined<A extends VectorData[Precision]>(parts: A[]): A {
  const [first] = parts
  if (parts.length === 1) return first!.slice() as A
  const all = new (first!.constructor as new (length: number) => A)(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** The vectors that Rust made. */
export function embeddings<P extends Precision>(
  native: NativeEmbeddings,
  texts: readonly TokenizedText[],
  hasSpans: readonly boolean[],
  precision: P,
  numLayers: number,
): Embeddings<P> {
  const { starts, dim, normalized, layers, pool, source } = native
  const pooling = Object.freeze({ pool: pool as Pool, source: source as Contract['pooling']['source'] })
  const data = native[precision]
  if (data === undefined) throw new BertLayersError('ERR_INTERNAL', `there are no vectors in ${precision}`)
  return new Embeddings(
    { texts, starts, hasSpans, pooling, normalized, dim, numLayers },
    precision,
    ofThisRealm(data) as VectorData[P],
    (native.scales && ofThisRealm(native.scales)) as Contract<P>['scales'],
    layers && Object.freeze([...layers]),
  )
}
