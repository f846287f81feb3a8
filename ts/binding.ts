/**
 * What crates/node gives to TypeScript: the same names as its files and functions, and nothing public.
 *
 * Errors never cross as exceptions: a call that can fail answers `{ error }`, because an error that is thrown inside
 * an N-API task would lose its code. ts/errors.ts turns it into a BertLayersError.
 */

/** A failure as Rust reports it: a stable code and a sentence that says what to do. */
export interface NativeError {
  code: string
  message: string
}

/** Either the value or the error, never both. */
export type Outcome<T> = { value: T; error?: undefined } | { value?: undefined; error: NativeError }

/** Read by Rust between chunks of rows and between texts; set from JavaScript when an AbortSignal fires. */
export interface CancelFlag {
  cancel(): void
}

export interface LoadRequest {
  /** What the user named: a folder or a hub name. */
  model: string
  /** Folders of installed packages which that name could mean, looked at last. */
  packageFolders: string[]
  device: string
  dtype: string
  revision?: string
  cacheDir?: string
  threads?: number
}

/** One input; exactly one of text, words, ids is there. */
export interface NativeInput {
  text?: string
  pair?: string
  words?: string[]
  ids?: Uint32Array
  typeIds?: Uint32Array
  attentionMask?: Uint8Array
}

export interface EncodeRequest {
  /** As the user gave them, negative ones included; absent: all. */
  layers?: number[]
  addSpecialTokens: boolean
  pooler: boolean
  attentions: boolean
}

/** The tokens of all texts end to end, in columns. */
export interface NativeTokens {
  /** Where each text starts, and the number of all tokens at the end: texts + 1 entries. */
  starts: Uint32Array
  ids: Uint32Array
  typeIds: Uint32Array
  /** Two entries a token: start and end in UTF-16 code units. */
  offsets: Uint32Array
  /** -1 where a token belongs to no word. */
  wordIds: Int32Array
  /** 0 or 1 for the first or second text of a pair, -1 for special tokens. */
  sequenceIds: Int32Array
  specialTokensMask: Uint8Array
  /** 1 where the tokenizer did not know the piece. */
  unknown: Uint8Array
}

export interface NativeHiddenStates {
  /** [layer][token of all texts][hidden]; its buffer is the one that Rust wrote. */
  data: Float32Array
  /** Hugging Face layer numbers, in the order asked for. */
  layers: number[]
  /** [text][hidden], when the pooler was asked for. */
  poolerOutput?: Float32Array
  /** [layer but 0][text][head][query][key], when attentions were asked for. */
  attentions?: Float32Array
  tokens: NativeTokens
}

export interface NativeConfig {
  modelType: string
  numLayers: number
  hiddenSize: number
  numHeads: number
  vocabSize: number
  maxTokens: number
  hasPooler: boolean
}

export interface NativeEncoder {
  readonly config: NativeConfig
  readonly device: string
  readonly dtype: string
  readonly fingerprint: string
  /** The folder that was loaded. */
  readonly folder: string
  readonly threads: number
  /** The instruction set that the kernels use, such as 'avx512'. */
  readonly instructionSet: string
  encode(inputs: NativeInput[], request: EncodeRequest, cancel: CancelFlag): Promise<Outcome<NativeHiddenStates>>
  tokenize(inputs: NativeInput[], addSpecialTokens: boolean, cancel: CancelFlag): Promise<Outcome<NativeTokens>>
  /** What the vocabulary calls these ids; undefined without a tokenizer. Works after dispose. */
  idsToTokens(ids: Uint32Array): string[] | undefined
  decode(ids: Uint32Array, skipSpecialTokens: boolean): Outcome<string>
  /** No more calls after this; the weights go when the calls in flight are done. The promise resolves then. */
  dispose(): Promise<void>
}

export interface IndexRequest {
  dim: number
  metric: string
  precision: string
  rescore: boolean
  threads?: number
}

export interface SearchRequest {
  k: number
  /** Absent: the engine's own. */
  oversample?: number
}

export interface NativeNeighbors {
  /** As many as were asked for, or as the index has. */
  k: number
  /** [query][k] */
  indices: Uint32Array
  /** [query][k] */
  scores: Float32Array
}

export interface NativeIndex {
  readonly size: number
  readonly dim: number
  readonly bytes: number
  search(queries: Float32Array, request: SearchRequest, cancel: CancelFlag): Promise<Outcome<NativeNeighbors>>
  /** No more searches after this; the vectors go when those in flight are done. The promise resolves then. */
  dispose(): Promise<void>
}

export interface NativeBinding {
  CancelFlag: new () => CancelFlag
  loadEncoder(request: LoadRequest, cancel: CancelFlag): Promise<Outcome<NativeEncoder>>
  /** Copies the vectors [vector][dim] before it returns. */
  createIndex(vectors: Float32Array, request: IndexRequest): Outcome<NativeIndex>
  /** Runs a job that panics, to prove that a panic arrives as ERR_INTERNAL. For tests. */
  panicForTest(): Promise<Outcome<void>>
}
