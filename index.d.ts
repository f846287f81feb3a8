/// <reference lib="esnext.disposable" />

/**
 * BERT encoders inside Node that give every layer's hidden state.
 *
 * ```ts
 * import { Encoder } from 'bert-layers'
 *
 * await using bert = await Encoder.fromPretrained()
 * const states = await bert.encode(['你好，世界！', 'Hello, world!'])
 * states.get(-1, 0) // Float32Array, [tokens of text 0 × hidden] of the last layer: a view, not a copy
 * ```
 *
 * @packageDocumentation
 */

/**
 * A loaded model.
 *
 * It may be used by any number of calls at a time. All work runs outside the event loop. The encodes of one encoder run one
 * after the other, in the order of the calls; `tokenize` and `countTokens` do not wait behind them. Loading the same model
 * twice in a process, worker threads included, shares its weights.
 */
export declare class Encoder implements AsyncDisposable {
  private constructor()

  /**
   * Loads a model.
   *
   * @param model A folder in Hugging Face layout (config.json, safetensors, tokenizer.json or vocab.txt), or a name, which
   *   is looked up as a folder, in the Hugging Face cache (`HF_HUB_CACHE`, `HF_HOME`) and among the installed packages
   *   (`NAME` and `@bert-layers/NAME`). Without it: all-MiniLM-L6-v2, which comes with this package.
   * @throws {@link BertLayersError} ERR_MODEL_NOT_FOUND, ERR_MODEL_INVALID, ERR_MODEL_UNSUPPORTED, ERR_DEVICE_UNAVAILABLE,
   *   ERR_INVALID_INPUT (an option), ERR_OUT_OF_MEMORY.
   * @example
   * const bert = await Encoder.fromPretrained('./models/bert-base-uncased', { device: 'cpu', dtype: 'float32' })
   */
  static fromPretrained(model?: string, options?: FromPretrainedOptions): Promise<Encoder>

  /** What the model is. */
  readonly config: EncoderConfig

  /** Where it runs: what 'auto' became. */
  readonly device: string

  /** The type that its arithmetic uses. Hidden states are float32 whatever it is. */
  readonly dtype: Dtype

  /**
   * A hash of weights, tokenizer, dtype, device, instruction set and the version of our arithmetic: equal fingerprints give
   * equal numbers.
   */
  readonly fingerprint: string

  /**
   * Runs the model and gives the hidden states of the layers asked for.
   *
   * Texts are never padded: on the CPU a text's numbers are the same, bit by bit, whatever shares its batch, whichever layers
   * are asked for and however many threads run.
   *
   * @throws {@link BertLayersError} ERR_INVALID_INPUT, ERR_TOO_MANY_TOKENS, ERR_OUT_OF_MEMORY, ERR_DISPOSED; an aborted call
   *   rejects with `signal.reason`.
   * @example
   * const states = await bert.encode([{ text: 'How old are you?', pair: 'What is your age?' }], { layers: [0, -1] })
   */
  encode(inputs: EncoderInput | readonly EncoderInput[], options?: EncodeOptions): Promise<HiddenStates>

  /**
   * Tokenizes only: what `encode(…).texts` would hold. One entry an input, for a single input too. There is no limit on the
   * number of tokens here.
   *
   * @throws {@link BertLayersError} ERR_INVALID_INPUT, ERR_DISPOSED.
   */
  tokenize(inputs: EncoderInput | readonly EncoderInput[], options?: TokenizeOptions): Promise<TokenizedText[]>

  /**
   * The number of tokens of an input, special tokens included unless `addSpecialTokens` is false.
   *
   * @throws {@link BertLayersError} as {@link Encoder.tokenize}.
   */
  countTokens(input: EncoderInput, options?: TokenizeOptions): Promise<number>
  /** The number of tokens of each input. */
  countTokens(inputs: readonly EncoderInput[], options?: TokenizeOptions): Promise<number[]>

  /**
   * Turns ids back into text, as the model's tokenizer does.
   *
   * @throws {@link BertLayersError} ERR_INVALID_INPUT (not ids, or a model without tokenizer), ERR_DISPOSED.
   */
  decode(ids: NumberArray, options?: DecodeOptions): string

  /**
   * Frees the weights, once the calls in flight are done; the promise resolves then. Later calls reject with ERR_DISPOSED.
   * Hidden states that were given stay valid. Calling it again changes nothing.
   */
  dispose(): Promise<void>

  /** `await using` disposes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Options of {@link Encoder.fromPretrained}. An option that does not exist is an error. */
export interface FromPretrainedOptions {
  /** 'auto' (the default) takes the best device there is; a device that is named and not there is ERR_DEVICE_UNAVAILABLE. */
  device?: Device | undefined
  /**
   * The precision of the matrix products, from whatever the checkpoint stores; hidden states are float32 always. Default
   * 'float32'. 'bfloat16' is twice as fast on processors that have instructions for it, and within .9999 of float32's states
   * (mean cosine). 'int8' is for CPUs and faster still, with mean cosine .998 at the last layer of a BERT-base. 'float16' is for
   * GPUs. What a device cannot do is ERR_DEVICE_UNAVAILABLE.
   */
  dtype?: Dtype | DtypeAlias | undefined
  /** Branch, tag or commit of a model in the Hugging Face cache. Default 'main'. */
  revision?: string | undefined
  /** The Hugging Face cache to look in. Default: what `HF_HUB_CACHE` or `HF_HOME` name, else ~/.cache/huggingface/hub. */
  cacheDir?: string | undefined
  /** Never download. This version loads local files only, whatever is given here. */
  localFilesOnly?: boolean | undefined
  /** Threads for this model's arithmetic, 1 to 1024. Default: one a core. The numbers do not depend on it. */
  threads?: number | undefined
  /** Aborts loading: the promise rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/** Where a model runs. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | 'metal'

/** The type that a model's arithmetic uses. */
export type Dtype = 'float32' | 'bfloat16' | 'float16' | 'int8'

/** The names transformers.js has for the same. */
export type DtypeAlias = 'fp32' | 'bf16' | 'fp16' | 'q8'

/** What a loaded model is. */
export interface EncoderConfig {
  /** The family, `model_type` of config.json, such as 'bert'. */
  readonly modelType: string
  /** The number of blocks; hidden states are numbered 0 (embedding output) to `numLayers`. */
  readonly numLayers: number
  /** The length of one token's hidden state. */
  readonly hiddenSize: number
  /** Attention heads of a block. */
  readonly numHeads: number
  /** Rows of the word embedding: ids are below it. */
  readonly vocabSize: number
  /** The longest input in tokens, special tokens included. */
  readonly maxTokens: number
}

/** One input: a text, two texts that the model sees as a pair, words that are split already, or token ids. */
export type EncoderInput = string | TextInput | WordsInput | IdsInput

/** A text, or a pair of texts: `[CLS] text [SEP] pair [SEP]`. */
export interface TextInput {
  text: string
  pair?: string | undefined
}

/** Words that are split already: tokens never cross words, and `wordIds` count these words. */
export interface WordsInput {
  words: readonly string[]
}

/** Tokenized already, and used as it is: no special tokens are added. */
export interface IdsInput {
  /** Token ids, at least one. */
  ids: NumberArray
  /** Token type ids, as many as ids. Default: all 0. */
  typeIds?: NumberArray | undefined
  /** 1 or true for a token, 0 or false for padding, which keeps its position and its row and is never attended to. Default: all 1. */
  attentionMask?: NumberArray | readonly boolean[] | undefined
}

/** Whole numbers, in an array or a typed array (not of bigint). It is copied before the call returns. */
export type NumberArray =
  | readonly number[]
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array

/** Options of {@link Encoder.encode}. An option that does not exist is an error. */
export interface EncodeOptions extends TokenizeOptions {
  /**
   * The layers to keep, in the order given: 'all' (the default), a number or several, each once. Negative ones count from the
   * end: -1 is the last block's output. The model stops after the deepest layer that was asked for.
   */
  layers?: 'all' | number | readonly number[] | undefined
  /** What happens to an input with more tokens than the model takes. 'error' (the default): ERR_TOO_MANY_TOKENS. */
  overflow?: 'error' | undefined
  /**
   * Whether to keep the attention weights of the layers that are kept, for {@link HiddenStates.attention}. They take
   * heads × tokens² numbers a layer and text: 6 MB for 12 heads and 360 tokens. ERR_INVALID_INPUT if layer 0, which has none, is
   * the only layer. Default false.
   */
  attentions?: boolean | undefined
  /** Whether to compute {@link HiddenStates.poolerOutput}; ERR_INVALID_INPUT if the model has no pooler. Default false. */
  pooler?: boolean | undefined
}

/** Options of {@link Encoder.tokenize} and {@link Encoder.countTokens}. */
export interface TokenizeOptions {
  /** Whether to add the model's special tokens, such as [CLS] and [SEP]. Default true. */
  addSpecialTokens?: boolean | undefined
  /**
   * Aborts the call: it rejects with `signal.reason` at once, and the work stops soon after. Tokenizing looks at it between
   * inputs: an input that was begun, however long, is finished first.
   */
  signal?: AbortSignal | undefined
}

/** Options of {@link Encoder.decode}. */
export interface DecodeOptions {
  /** Whether to leave the special tokens out. Default false. */
  skipSpecialTokens?: boolean | undefined
}

/**
 * Hidden states of a batch: one block of numbers and views of it.
 *
 * `layer`, `get` and `token` copy nothing: writing to a view writes to `data`, and a view that is kept keeps the whole block.
 * Use `.slice()` for a copy of its own, also before structuredClone or postMessage, which would clone the whole block.
 * A layer, text or token that is not there is ERR_INVALID_INPUT.
 */
export interface HiddenStates {
  /** Everything, [layer][token of all texts][hidden], float32. */
  readonly data: Float32Array
  /** The layers kept, in `data`'s order, numbered as Hugging Face does: 0 is the embedding output, k is block k's output. */
  readonly layers: readonly number[]
  /** The inputs as the model saw them. */
  readonly texts: readonly TokenizedText[]
  /** The length of one token's hidden state. */
  readonly hiddenSize: number
  /** [text][hidden]: the model's pooler over each text's first token, if `pooler` was true. */
  readonly poolerOutput: Float32Array | undefined
  /** All attention weights, [layer but 0][text][head][query][key], if `attentions` was true. Layers are in `layers`' order. */
  readonly attentions: Float32Array | undefined

  /** A layer, [token of all texts][hidden]. Negative layers count from the model's end: -1 is its last, if it was kept. */
  layer(layer: number): Float32Array
  /** A text's tokens in a layer, [token][hidden]. */
  get(layer: number, text: number): Float32Array
  /** One token of a text in a layer, [hidden]. */
  token(layer: number, text: number, token: number): Float32Array
  /**
   * The attention weights of one head in one text, [tokens × tokens], if `attentions` was true: how much each token (a row)
   * takes from each (a column). Rows add up to 1; a masked token has 0 in them. Layers are numbered as everywhere: `layer`'s weights
   * are those with which block `layer` made hidden state `layer`, Hugging Face's `attentions[layer - 1]`. Layer 0 has none.
   */
  attention(layer: number, head: number, text: number): Float32Array
  /** A copy of a layer laid out as Transformers does, with zeros behind the shorter texts; or ERR_OUT_OF_MEMORY. */
  padded(layer: number): PaddedStates
}

/** What {@link HiddenStates.padded} gives. */
export interface PaddedStates {
  /** [text][position][hidden]. */
  data: Float32Array
  /** [texts, tokens of the longest text, hidden size]. */
  shape: [texts: number, longest: number, hidden: number]
}

/**
 * One input as the model saw it: a row a token.
 *
 * Its columns are made when they are first read, by getters of its class: `{ ...text }`, `Object.assign` and structuredClone
 * (so postMessage) take `text` and `pair` only. `toJSON()` gives all of it as a plain object.
 */
export interface TokenizedText {
  /** The text as given; undefined for words and ids. */
  readonly text: string | undefined
  /** The second text of a pair. */
  readonly pair: string | undefined
  /** What the vocabulary calls the tokens; empty without a tokenizer. */
  readonly tokens: string[]
  /** Token ids. */
  readonly ids: number[]
  /** Token type ids: 1 for the second text of a pair. */
  readonly typeIds: number[]
  /**
   * Start and end of each token in UTF-16 code units: `text.slice(start, end)` is its source; [0, 0] for special tokens and
   * for an input of ids. For a pair `sequenceIds` says of which text, for words it is within the word. Empty without a tokenizer.
   */
  readonly offsets: [start: number, end: number][]
  /** The word of each token, counted from 0 in each text; null for special tokens and for an input of ids. */
  readonly wordIds: (number | null)[]
  /** 0 for the text, 1 for the pair, null for special tokens and for an input of ids. */
  readonly sequenceIds: (number | null)[]
  /** 1 for special tokens, else 0. In an input of ids: 1 for the tokenizer's special ids, such as [CLS]. */
  readonly specialTokensMask: number[]
  /** Positions of the tokens that stand for something the vocabulary does not have. */
  readonly unknownTokens: number[]
  /** All of it as a plain object, which can be spread, cloned and sent. */
  toJSON(): Omit<TokenizedText, 'toJSON'>
}

/** Numbers in an array or a typed array (not of bigint). */
export type NumericVector =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array

/**
 * a·b = Σ aᵢbᵢ, in double precision.
 *
 * @throws {@link BertLayersError} ERR_INVALID_INPUT for vectors of different lengths, empty ones, or what are no numbers. NaN in
 *   a vector gives NaN. This goes for all three functions.
 */
export declare function dot(a: NumericVector, b: NumericVector): number

/** a·b / (‖a‖ ‖b‖), from -1 to 1; 0 if either vector is zero. */
export declare function cosineSimilarity(a: NumericVector, b: NumericVector): number

/** ‖a − b‖ = √Σ (aᵢ − bᵢ)². */
export declare function euclideanDistance(a: NumericVector, b: NumericVector): number

/**
 * Vectors of one length: an array of vectors; a matrix [vector][dim] end to end (then the dimension must be known); or an object
 * that has both, such as what `embed` gives.
 */
export type Vectors =
  | readonly NumericVector[]
  | Float32Array
  | readonly number[]
  | { readonly data: Float32Array; readonly dim: number }

/** What is near: a·b / (‖a‖ ‖b‖) or a·b, the highest first, or ‖a − b‖, the lowest first. */
export type Metric = 'cosine' | 'dot' | 'euclidean'

/** How an index stores the vectors that a search goes through; see {@link VectorIndex}. */
export type IndexPrecision = 'float32' | 'int8' | 'binary'

/**
 * Vectors to be searched: a copy of a matrix, outside JavaScript's heap. A search goes through all of them, off the event loop,
 * with all cores; of equal scores the lower index comes first, and the result is the same on any number of threads.
 *
 * | precision | a vector of `dim` numbers takes, in bytes | a search |
 * |---|---|---|
 * | 'float32' | 4 · dim | finds the true nearest vectors; candidates in float32, scores in double precision |
 * | 'int8' | dim rounded up to a multiple of 64, + 4 | goes through a quarter of the memory: 255 levels for each vector |
 * | 'binary' | dim / 8, in steps of 8 bytes | goes through a 32nd of it: one bit a place, whether it is above 0 |
 *
 * To this add 4 bytes for 'cosine' in float32 and 'dot' in binary, 4 for 'euclidean' in int8 and 8 in binary. With `rescore` (the
 * default) int8 and binary keep the vectors in float32 too, 4 · dim bytes more: a search then takes `oversample` · k
 * candidates from the small codes and scores these exactly. With `rescore: false` scores are what the codes say: close for
 * int8, a rough estimate for binary. Binary suits 'cosine' and vectors whose numbers lie on both sides of 0.
 *
 * ```ts
 * import { VectorIndex } from 'bert-layers'
 *
 * await using index = VectorIndex.from([[1, 0], [0, 2], [3, 3]], { metric: 'cosine' })
 * const found = await index.search([[0, 1]], 2)
 * found.get(0) // [{ index: 1, score: 1 }, { index: 2, score: 0.7071067690849304 }]
 * ```
 */
export declare class VectorIndex implements AsyncDisposable {
  private constructor()

  /**
   * Copies vectors into an index, before it returns: they may be written to afterwards. The event loop waits meanwhile: some
   * tenths of a second for a gigabyte, and longer where the system has to find the memory first.
   *
   * @throws {@link BertLayersError} ERR_INVALID_INPUT (no vectors, of different lengths, numbers that are not finite or too large
   *   to be squared in float32, an option), ERR_OUT_OF_MEMORY.
   */
  static from(vectors: Vectors, options?: VectorIndexOptions): VectorIndex

  /** How many vectors there are; indices are 0 to `size` - 1. */
  readonly size: number
  /** The length of a vector. */
  readonly dim: number
  /** What is near. */
  readonly metric: Metric
  /** What a search goes through. */
  readonly precision: IndexPrecision
  /** The memory that it takes. */
  readonly bytes: number

  /**
   * Finds the `k` nearest vectors to each query; all, if there are fewer. Queries of one call share the way through memory: many
   * at once cost less than one after the other.
   *
   * @param queries Vectors of length `dim`, in any of the forms of {@link Vectors}; a Float32Array of `dim` numbers is one query.
   * @throws {@link BertLayersError} ERR_INVALID_INPUT (no queries, of another length, numbers that are not finite, k below 1, an
   *   option), ERR_OUT_OF_MEMORY, ERR_DISPOSED; an aborted call rejects with `signal.reason`.
   */
  search(queries: Vectors, k: number, options?: SearchOptions): Promise<Neighbors>

  /** Frees the memory, once the searches in flight are done; the promise resolves then. Later ones reject with ERR_DISPOSED. */
  dispose(): Promise<void>

  /** `await using` disposes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Options of {@link VectorIndex.from}. An option that does not exist is an error. */
export interface VectorIndexOptions {
  /** The length of a vector; needed where `vectors` are one Float32Array, or one array of numbers. */
  dim?: number | undefined
  /** Default 'cosine'. A vector of zeros, or shorter than 1.2e-38 where float32 ends, has the cosine 0 with every other. */
  metric?: Metric | undefined
  /** Default 'float32'. */
  precision?: IndexPrecision | undefined
  /** Whether int8 and binary keep the vectors in float32 to score candidates exactly. Default true; float32 needs none. */
  rescore?: boolean | undefined
  /** Threads that search, 1 to 1024. Default: one a core. The result does not depend on it. */
  threads?: number | undefined
}

/** Options of {@link VectorIndex.search}. An option that does not exist is an error. */
export interface SearchOptions {
  /** How many candidates are scored exactly for each neighbor wanted, at least 1, where `rescore` is on. Default 4. */
  oversample?: number | undefined
  /** Aborts the call: it rejects with `signal.reason` at once, and the work stops soon after. */
  signal?: AbortSignal | undefined
}

/** What {@link VectorIndex.search} found. */
export interface Neighbors {
  /** How many queries there were. */
  readonly queries: number
  /** How many neighbors each has: as many as were asked for, or as the index has. */
  readonly k: number
  /** [query][k]: the vectors' indices, the nearest first. */
  readonly indices: Uint32Array
  /** [query][k]: their scores, what {@link Metric} says. */
  readonly scores: Float32Array
  /** The neighbors of one query; ERR_INVALID_INPUT if there is no such query. */
  get(query: number): Neighbor[]
}

/** One vector that was found. */
export interface Neighbor {
  index: number
  score: number
}

/** What went wrong, for programs. */
export type ErrorCode =
  /** No such model; the message lists where it was looked for. */
  | 'ERR_MODEL_NOT_FOUND'
  /** The model's files are damaged or contradict each other. */
  | 'ERR_MODEL_INVALID'
  /** A good model, of a family or with a feature that is not supported. */
  | 'ERR_MODEL_UNSUPPORTED'
  /** An argument or an option. */
  | 'ERR_INVALID_INPUT'
  /** An input has more tokens than the model takes. */
  | 'ERR_TOO_MANY_TOKENS'
  /** A device that is not there, or that cannot do what was asked. */
  | 'ERR_DEVICE_UNAVAILABLE'
  /** The message says how many bytes were asked for. */
  | 'ERR_OUT_OF_MEMORY'
  /** Too many calls at a time. This version never gives it: calls wait for each other. */
  | 'ERR_BUSY'
  /** A model could not be downloaded. This version never gives it: it does not download. */
  | 'ERR_DOWNLOAD'
  /** The encoder was disposed. */
  | 'ERR_DISPOSED'
  /** A defect in this package, or its native part is missing. */
  | 'ERR_INTERNAL'

/** What every call rejects with; except for an aborted one, which rejects with `signal.reason`. */
export declare class BertLayersError extends Error {
  /** A message says what was wrong and what to do. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown })
  readonly name: 'BertLayersError'
  /** Stable: programs may rely on it. */
  readonly code: ErrorCode
  /** True for errors of another copy of this package in the process too, as when it is both imported and required. */
  static [Symbol.hasInstance](value: unknown): boolean
}
