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
  lastLayer: 'after-norm' | 'before-norm'
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
  /** Starts and ends by turns, beside text; for embed only. */
  spans?: Uint32Array
}

/** What to do with texts that are too long. */
export interface NativeOverflow {
  kind: 'error' | 'head' | 'tail' | 'head+tail' | 'window' | 'sample'
  /** For 'head+tail'. */
  head?: number
  /** For 'window'. */
  size?: number
  stride?: number
  /** Whether a token's states are averaged; else the most central one is taken. */
  mean?: boolean
  /** For 'sample'. */
  windows?: number
  seed?: number
}

export interface EncodeRequest {
  /** As the user gave them, negative ones included; absent: all. */
  layers?: number[]
  addSpecialTokens: boolean
  pooler: boolean
  attentions: boolean
  overflow: NativeOverflow
  /** Rows are words, made so. */
  words?: string
}

export interface EmbedRequest {
  /** As the user gave them; absent, and allLayers false: the last one. */
  layers?: number[]
  allLayers: boolean
  combine: 'mean' | 'sum' | 'max' | 'concat' | 'none' | 'weights' | 'scalarMix'
  /** For 'weights' and 'scalarMix'. */
  weights?: number[]
  gamma?: number
  pool?: string
  includeSpecialTokens: boolean
  normalize?: boolean
  truncateDim?: number
  /** At most one of the two. */
  prompt?: string
  promptName?: string
  overflow: NativeOverflow
  maxTokens?: number
  precision: string
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

/** The words of all texts end to end, in columns. */
export interface NativeWords {
  /** Where each text's words start, and the number of all words at the end. */
  starts: Uint32Array
  wordIds: Uint32Array
  sequenceIds: Uint32Array
  /** Two entries a word: its tokens' start and end, counted within the text. */
  tokens: Uint32Array
}

/** What an overflow left out of the texts. */
export interface NativeCuts {
  /** For each text, tokens left out; empty: none of any. */
  truncated: Uint32Array
  /** For each text, the windows drawn, starts and ends by turns; empty: none of any. */
  sampled: (Uint32Array | undefined | null)[]
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
  /** When rows are words. */
  words?: NativeWords
  cuts: NativeCuts
}

/** Vectors; exactly one of float32, float16, int8 and binary is there. */
export interface NativeEmbeddings {
  float32?: Float32Array
  float16?: Uint16Array
  int8?: Int8Array
  /** For int8. */
  scales?: Float32Array
  binary?: Uint8Array
  dim: number
  /** When each layer has vectors of its own. */
  layers?: number[]
  /** Where each text's vectors start within a layer, and their number at the end. */
  starts: Uint32Array
  pool: string
  source: string
  normalized: boolean
  tokens: NativeTokens
  cuts: NativeCuts
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
  /** How many tokens a batch needs to keep the device busy. */
  readonly batchTokens: number
  /** The instruction set that the kernels use, such as 'avx512'. */
  readonly instructionSet: string
  /** The prompts of the model's files. */
  readonly promptNames: string[]
  /** What who loads the model should know: other weights in its folder that disagree with those that were read. */
  readonly notices: string[]
  encode(inputs: NativeInput[], request: EncodeRequest, cancel: CancelFlag): Promise<Outcome<NativeHiddenStates>>
  embed(inputs: NativeInput[], request: EmbedRequest, cancel: CancelFlag): Promise<Outcome<NativeEmbeddings>>
  tokenize(inputs: NativeInput[], addSpecialTokens: boolean, cancel: CancelFlag): Promise<Outcome<NativeTokens>>
  /** What the vocabulary calls these ids; undefined without a tokenizer. Works after dispose. */
  idsToTokens(ids: Uint32Array): string[] | undefined
  decode(ids: Uint32Array, skipSpecialTokens: boolean): Outcome<string>
  /** No more calls after this; the weights go when the calls in flight are done. The promise resolves then. */
  dispose(): Promise<void>
}

/** Which model's files. */
export type FilesRequest = Pick<LoadRequest, 'model' | 'packageFolders' | 'revision' | 'cacheDir'>

export interface NativeInspection {
  folder: string
  modelType?: string
  config?: NativeConfig
  weights: {
    format: string
    file: string
    bytes: number
    tensors?: number
    dtypes: { dtype: string; values: number }[]
  }[]
  parameters: number
  headParameters: number
  heads: string[]
  tokenizer?: { file: string; kind: string; tokens: number }
  pooling?: string
  poolingFiles: string[]
  memory: { dtype: string; bytes: number }[]
  instructionSet: string
  notices: string[]
}

/** A file of safetensors that is not here but for its beginning: its header. */
export interface NativeRemoteFile {
  file: string
  /** Bytes of all of it. */
  bytes: number
  start: Buffer
}

export interface NativeConversion {
  source: string
  format: string
  folder: string
  files: string[]
  tensors: number
  bytes: number
}

/** A lock between processes and threads, which the system takes from a process that ends, however it ends. */
export interface FileLock {
  /** 'unsupported': the file system has no locks, or the file cannot be opened. */
  tryAcquire(): 'held' | 'busy' | 'unsupported'
  release(): void
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

/** What a binary is. */
export interface NativeAbout {
  version: string
  /** The kinds of devices that were built in, such as 'cpu' and 'cuda'; whether they are there is not asked. */
  devices: string[]
  /** The one that the kernels of the CPU use. */
  instructionSet: string
}

export interface NativeBinding {
  about(): Outcome<NativeAbout>
  /** Opens a device as loading a model would, and gives its name. Takes its time, on this thread. */
  probeDevice(device: string): Outcome<string>
  /** What any thread of this process noted under this name. */
  recall(name: string): string | null | undefined
  remember(name: string, value: string): void
  CancelFlag: new () => CancelFlag
  /** Takes a result's memory back: all arrays over it are empty from now on. */
  releaseBuffer(buffer: ArrayBufferLike): void
  inspectModel(request: FilesRequest): Promise<Outcome<NativeInspection>>
  /** Of a model whose configurations are in `folder` and whose weights are not here; none: they are of another format. */
  inspectRemoteModel(folder: string, weights: NativeRemoteFile[]): Promise<Outcome<NativeInspection>>
  convertModel(
    request: FilesRequest,
    target: string,
    dtype: string | undefined,
    force: boolean,
    cancel: CancelFlag,
  ): Promise<Outcome<NativeConversion>>
  FileLock: new (path: string) => FileLock
  loadEncoder(request: LoadRequest, cancel: CancelFlag): Promise<Outcome<NativeEncoder>>
  /** Copies the vectors [vector][dim] before it returns. */
  createIndex(vectors: Float32Array, request: IndexRequest): Outcome<NativeIndex>
  /** Runs a job that panics, to prove that a panic arrives as ERR_INTERNAL. For tests. */
  panicForTest(): Promise<Outcome<void>>
}
