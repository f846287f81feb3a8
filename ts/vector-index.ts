import type * as api from '../index.d.ts'
import { abortable } from './abort.ts'
import type { IndexRequest, NativeIndex, NativeNeighbors, SearchRequest } from './binding.ts'
import { BertLayersError, invalidInput, settle, unwrap } from './errors.ts'
import { native } from './native.ts'
import { checkBoolean, checkSignal, checkThreads, keysOf, readOptions } from './options.ts'
import { describe } from './validate.ts'
import { checkDim, readVectors } from './vectors.ts'

const METRICS: readonly api.Metric[] = ['cosine', 'dot', 'euclidean']
const PRECISIONS: readonly api.IndexPrecision[] = ['float32', 'int8', 'binary']

const INDEX_KEYS = keysOf<api.VectorIndexOptions>({
  dim: true,
  metric: true,
  precision: true,
  rescore: true,
  threads: true,
})
const SEARCH_KEYS = keysOf<api.SearchOptions>({ oversample: true, signal: true })

export class VectorIndex implements api.VectorIndex {
  readonly size: number
  readonly dim: number
  readonly metric: api.Metric
  readonly precision: api.IndexPrecision
  readonly bytes: number
  readonly #native: NativeIndex
  #disposal: Promise<void> | undefined

  private constructor(index: NativeIndex, metric: api.Metric, precision: api.IndexPrecision) {
    // JavaScript knows no private constructors.
    if (typeof (index as NativeIndex | undefined)?.search !== 'function') {
      throw invalidInput('an index is made of vectors: use VectorIndex.from(vectors, options)')
    }
    this.size = index.size
    this.dim = index.dim
    this.metric = metric
    this.precision = precision
    this.bytes = index.bytes
    this.#native = index
  }

  static from(vectors: api.Vectors, options?: api.VectorIndexOptions): VectorIndex {
    const { dim: wanted, metric, precision, rescore, threads } = readIndexOptions(options)
    const { data, dim } = readVectors(vectors, 'vectors', wanted)
    const request: IndexRequest = { dim, metric, precision, rescore }
    if (threads !== undefined) request.threads = threads
    return new VectorIndex(unwrap(native().createIndex(data, request)), metric, precision)
  }

  async search(queries: api.Vectors, k: number, options?: api.SearchOptions): Promise<api.Neighbors> {
    if (this.#disposal !== undefined) {
      throw new BertLayersError('ERR_DISPOSED', 'this index was disposed: make it again with VectorIndex.from')
    }
    const { oversample, signal } = readSearchOptions(options)
    signal?.throwIfAborted()
    const request: SearchRequest = { k: checkK(k) }
    if (oversample !== undefined) request.oversample = oversample
    const { data } = readVectors(queries, 'queries', this.dim)
    const { CancelFlag } = native()
    const cancel = new CancelFlag()
    const searching = settle(() => this.#native.search(data, request, cancel))
    return new Neighbors(await abortable(signal, cancel, searching))
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#native.dispose()
    return this.#disposal
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

export class Neighbors implements api.Neighbors {
  readonly queries: number
  readonly k: number
  readonly indices: Uint32Array
  readonly scores: Float32Array

  constructor({ k, indices, scores }: NativeNeighbors) {
    this.queries = indices.length / k
    this.k = k
    // Of the realm that this code runs in: see ts/hidden-states.ts.
    this.indices = new Uint32Array(indices.buffer, indices.byteOffset, indices.length)
    this.scores = new Float32Array(scores.buffer, scores.byteOffset, scores.length)
  }

  get(query: number): api.Neighbor[] {
    if (!Number.isInteger(query) || query < 0 || query >= this.queries) {
      throw invalidInput(`there are queries 0 to ${this.queries - 1}, not ${describe(query)}`)
    }
    return Array.from({ length: this.k }, (_, i) => {
      const at = query * this.k + i
      return { index: this.indices[at]!, score: this.scores[at]! }
    })
  }
}

function readIndexOptions(value: unknown) {
  const options = readOptions<api.VectorIndexOptions>(value, INDEX_KEYS)
  const { dim, metric = 'cosine', precision = 'float32', rescore, threads } = options
  return {
    dim: dim === undefined ? undefined : checkDim(dim, 'option dim'),
    metric: oneOf(METRICS, metric, 'metric'),
    precision: oneOf(PRECISIONS, precision, 'precision'),
    rescore: checkBoolean(rescore, 'rescore', true),
    threads: checkThreads(threads),
  }
}

function readSearchOptions(value: unknown) {
  const { oversample, signal } = readOptions<api.SearchOptions>(value, SEARCH_KEYS)
  if (oversample !== undefined && !(typeof oversample === 'number' && oversample >= 1 && oversample < Infinity)) {
    throw invalidInput(`option oversample must be a number from 1 on, not ${describe(oversample)}`)
  }
  return { oversample: oversample as number | undefined, signal: checkSignal(signal) }
}

function checkK(value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 0xffff_ffff) return value as number
  throw invalidInput(
    `k, how many neighbors to find, must be a whole number from 1 to 4294967295, not ${describe(value)}`,
  )
}

function oneOf<T extends string>(known: readonly T[], value: unknown, name: string): T {
  const found = known.find(candidate => candidate === value)
  if (found !== undefined) return found
  throw invalidInput(`option ${name} must be one of ${known.join(', ')}, not ${describe(value)}`)
}
