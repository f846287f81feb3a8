/// <reference lib="esnext.disposable" />

/**
 * BERT encoders inside Node that give every layer's hidden state.
 *
 * ```ts
 * import { Encoder } from 'bert-layers'
 *
 * await using bert = await Encoder.fromPretrained() // TypeScript ≥ 5.2 or Node.js ≥ 24; elsewhere call dispose()
 * const states = await bert.encode(['你好，世界！', 'Hello, world!'])
 * states.get(-1, 0) // Float32Array, [tokens of text 0 × hidden] of the last layer: a view, not a copy
 * ```
 *
 * @packageDocumentation
 */

/**
 * A loaded model.
 *
 * It may be used by any number of calls at a time, up to `maxQueue`. All work runs outside the event loop. Calls of `encode` and
 * `embed` that wait are computed together where they are small, which changes no number on the CPU, and short ones go before long ones:
 * so they need not end in the order they were made. A long call that is overtaken by many gets every second turn.
 * `tokenize` and `countTokens` do not wait behind them. Loading the same model twice in a process, worker threads included, shares its
 * weights.
 */
export declare class Encoder implements AsyncDisposable {
  private constructor()

  /**
   * Loads a model.
   *
   * @param model A folder in Hugging Face layout (config.json; weights as safetensors, PyTorch's .bin, Flax's msgpack or a TensorFlow
   *   checkpoint, the first of these that is there; tokenizer.json, vocab.txt, or vocab.json with merges.txt), an installed package
   *   (`NAME` or `@bert-layers/NAME`), or a name on the Hugging Face hub, such as 'bert-base-uncased'. Without it:
   *   all-MiniLM-L6-v2, which comes with this package.
   *
   *   From the hub the files that are needed are downloaded into the Hugging Face cache, which Python shares, and nothing else:
   *   the best single format of the weights, the configuration, the tokenizer, what sentence-transformers says of it. What is
   *   there costs one request, which asks what the revision stands for (none for a commit); where the hub cannot be reached,
   *   what is in the cache is used and a warning says so. A download that broke off goes on where it stopped, and a file has
   *   its name only when its size and hash are what the hub states. A folder or a package never touches the network.
   *
   *   Environment, as huggingface_hub has it: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` (sent to the hub only),
   *   `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`, `HTTPS_PROXY`, `NO_PROXY`.
   * @throws {@link BertLayersError} ERR_MODEL_NOT_FOUND, ERR_DOWNLOAD, ERR_MODEL_INVALID, ERR_MODEL_UNSUPPORTED,
   *   ERR_DEVICE_UNAVAILABLE, ERR_INVALID_INPUT (an option), ERR_OUT_OF_MEMORY.
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
   * @throws {@link BertLayersError} ERR_INVALID_INPUT, ERR_TOO_MANY_TOKENS, ERR_OUT_OF_MEMORY, ERR_BUSY, ERR_DISPOSED; an aborted call
   *   rejects with `signal.reason`.
   * @example
   * const states = await bert.encode([{ text: 'How old are you?', pair: 'What is your age?' }], { layers: [0, -1] })
   */
  encode(inputs: EncoderInput | readonly EncoderInput[], options?: EncodeOptions): Promise<HiddenStates>

  /**
   * Makes one vector of each text, or of spans of it, from any mix of layers; hidden states are not kept.
   *
   * Layers are combined token by token, then tokens are pooled. By default it makes the vectors that the model's authors meant,
   * as sentence-transformers does: the last layer, with the pooling, normalization, prompt and length that the model's files name;
   * {@link Embeddings.pooling} says whether they do. A text's vector is the same, bit by bit, whatever shares its call.
   *
   * @throws {@link BertLayersError} as {@link Encoder.encode}; ERR_MODEL_UNSUPPORTED for a model whose files ask for a way of
   *   pooling that is not known, unless `pool` names another.
   * @example
   * const vectors = await bert.embed(['How old are you?', 'What is your age?'], { layers: [1, -1], normalize: true })
   * vectors.get(0) // Float32Array, [dim]
   */
  embed<P extends Precision = 'float32'>(
    inputs: EmbedInput | readonly EmbedInput[],
    options?: EmbedOptions<P>,
  ): Promise<Embeddings<P>>

  /**
   * Encodes any number of inputs in bounded memory: a generator, a readable stream of lines, a database's iterator. The results
   * come one by one in the order of the inputs. Of a Readable each chunk is an input, and chunks of a file are not its lines: give
   * readline's interface for these.
   *
   * Inputs are read ahead and encoded in batches of similar lengths, two of them on their way at a time; a consumer that takes its time
   * stops the reading. When the consumer stops early, the source's `return()` is called, and waited for unless the source is in the
   * midst of giving an input.
   *
   * An input that cannot be encoded ends the stream: the results of all inputs before it come first, then the error, whose
   * {@link BertLayersError.index} says which input it was. So does an error of the source itself.
   *
   * With the option `embed` each result is the input's vector, else its hidden states.
   *
   * @throws {@link BertLayersError} at once: ERR_INVALID_INPUT (the source or an option), ERR_DISPOSED. While iterating: what
   *   {@link Encoder.encode} and {@link Encoder.embed} reject with, an error of the source or of `progressCallback`; an aborted stream
   *   rejects with `signal.reason`.
   * @example
   * const lines = createInterface({ input: createReadStream('corpus.txt') })
   * for await (const { input, vector } of bert.stream(lines, { embed: true })) await save(input, vector)
   * @example
   * for await (const states of bert.stream(rows(), { layers: -1 })) console.log(states.index, states.token(-1, 0))
   */
  stream<I extends EmbedInput, P extends Precision = 'float32'>(
    source: Iterable<I> | AsyncIterable<I>,
    options: EmbedStreamOptions<P>,
  ): AsyncGenerator<StreamedVectors<I, P>, void, undefined>
  stream<I extends EncoderInput>(
    source: Iterable<I> | AsyncIterable<I>,
    options?: EncodeStreamOptions,
  ): AsyncGenerator<StreamedStates<I>, void, undefined>

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
  /** Either of the two. */
  countTokens(inputs: EncoderInput | readonly EncoderInput[], options?: TokenizeOptions): Promise<number | number[]>

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
  /**
   * 'auto' (the default) takes the best device there is that knows the dtype ('int8': the CPU); a device that is named and not there is
   * ERR_DEVICE_UNAVAILABLE. CUDA is in a package of its own, such as `@bert-layers/linux-x64-gnu-cuda`, in the version of this one.
   */
  device?: Device | undefined
  /**
   * The precision of the matrix products, from whatever the checkpoint stores; hidden states are float32 always. Default
   * 'float32'. 'bfloat16' is twice as fast on processors that have instructions for it, three to four times with AMX, and within .9999 of float32's states
   * (mean cosine). 'int8' is for CPUs and faster still, with mean cosine .998 at the last layer of a BERT-base. 'float16' is for
   * GPUs. What a device cannot do is ERR_DEVICE_UNAVAILABLE.
   */
  dtype?: Dtype | DtypeAlias | undefined
  /**
   * What the last layer is, where a norm follows the last block (ModernBERT). 'after-norm', the default: normed, which is
   * `last_hidden_state`, and the last of `hidden_states` in Transformers today. 'before-norm': as the last block gives it, like all
   * layers before it, which Transformers' releases 4.48 to 5.0.0 had there. Whatever is made of layers uses the last one as
   * it is then. 'before-norm' of a model that has no such norm is ERR_INVALID_INPUT.
   */
  lastLayer?: LastLayer | undefined
  /** Branch, tag or commit of a model on the hub. Default 'main'. A folder has none: that is ERR_INVALID_INPUT. */
  revision?: string | undefined
  /**
   * The Hugging Face cache to use. Default: what `HF_HUB_CACHE` or `HF_HOME` name, else ~/.cache/huggingface/hub. Without effect for
   * folders and the model that comes with this package.
   */
  cacheDir?: string | undefined
  /** Never use the network: what is neither a folder, a package nor in the cache is ERR_MODEL_NOT_FOUND. Default false. */
  localFilesOnly?: boolean | undefined
  /** Told of each file that is downloaded. What it throws ends the load, which rejects with it. */
  progressCallback?: ProgressCallback | undefined
  /** Threads for this model's arithmetic, 1 to 1024. Default: one a core. The numbers do not depend on it. */
  threads?: number | undefined
  /**
   * How many calls of `encode` and `embed` may be under way at a time, those that wait included: one more rejects with ERR_BUSY.
   * Default 10,000. Streams do not count.
   */
  maxQueue?: number | undefined
  /** Aborts loading: the promise rejects with `signal.reason`. What was downloaded stays for the next try. */
  signal?: AbortSignal | undefined
}

/** Told what happens to the files that are downloaded. */
export type ProgressCallback = (info: ProgressInfo) => void

/**
 * What happens to one file, as transformers.js tells it: 'initiate' once it is to be downloaded, 'download' before the first
 * byte, 'progress' at most every 50 ms and at the end, 'done' when it is in the cache (another process may have put it there).
 */
export type ProgressInfo =
  | { status: 'initiate' | 'download' | 'done'; name: string; file: string }
  | {
      status: 'progress'
      /** The model's name. */
      name: string
      /** The file's path in the model's repository. */
      file: string
      /** Per cent, 0 to 100. */
      progress: number
      /** Bytes that are there, those of a former try included. */
      loaded: number
      /** Bytes in all. */
      total: number
    }

/** Where a model runs. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}` | 'metal'

/** The type that a model's arithmetic uses. */
export type Dtype = 'float32' | 'bfloat16' | 'float16' | 'int8'

/** Whether the last layer is after the model's final norm or before it. */
export type LastLayer = 'after-norm' | 'before-norm'

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
  /** The longest input in tokens, special tokens included: 512 for a RoBERTa with 514 positions, since they start after the padding id. */
  readonly maxTokens: number
}

/**
 * One input: a text, two texts that the model sees as a pair, words that are split already, or token ids. An empty text is its special
 * tokens alone.
 */
export type EncoderInput = string | TextInput | WordsInput | IdsInput

/**
 * A text, or a pair of texts: `[CLS] text [SEP] pair [SEP]`. A special token that is written in a text, such as '[SEP]', becomes that
 * token, as with Hugging Face's tokenizers. It counts as the text's, though: it has offsets and a word, and `specialTokensMask` is 0.
 */
export interface TextInput {
  text: string
  pair?: string | undefined
  words?: never
  ids?: never
}

/** Words that are split already: tokens never cross words, and `wordIds` count these words. */
export interface WordsInput {
  words: readonly string[]
  text?: never
  ids?: never
}

/** Tokenized already, and used as it is: no special tokens are added. */
export interface IdsInput {
  /** Token ids, at least one. */
  ids: NumberArray
  /** Token type ids, as many as ids. Default: all 0, which is the only one that a family without token types has. */
  typeIds?: NumberArray | undefined
  /** 1 or true for a token, 0 or false for padding, which keeps its position and its row and is never attended to. Default: all 1. */
  attentionMask?: NumberArray | readonly boolean[] | undefined
  text?: never
  words?: never
}

/** A text of which {@link Encoder.embed} makes a vector a span, from states that have seen the whole text (late chunking). */
export interface SpansInput {
  text: string
  /**
   * Start and end of each span in UTF-16 code units, as `text.slice(start, end)` takes them: 0 ≤ start < end ≤ text.length. A
   * token belongs to each span that it overlaps; special tokens belong to none. A span without a token is ERR_INVALID_INPUT.
   */
  spans: readonly (readonly [start: number, end: number])[]
}

/** What {@link Encoder.embed} takes. */
export type EmbedInput = EncoderInput | SpansInput

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
  overflow?: Overflow | undefined
  /**
   * Makes the rows of the result words instead of tokens: those of the tokenizer, or of `{ words }`, which `texts[i].words` lists.
   * A word's row is its first token's state, its last token's, their average, or the largest of each component. Special tokens
   * have no row. A word of `{ words }` that has no token, such as an empty one, has a row of zeros. ERR_INVALID_INPUT for an
   * input of ids.
   */
  words?: 'first' | 'last' | 'mean' | 'max' | undefined
  /**
   * Whether to keep the attention weights of the layers that are kept, for {@link HiddenStates.attention}. They take
   * heads × tokens² numbers a layer and text: 6 MB for 12 heads and 360 tokens. ERR_INVALID_INPUT if layer 0, which has none, is
   * the only layer. Default false.
   */
  attentions?: boolean | undefined
  /** Whether to compute {@link HiddenStates.poolerOutput}; ERR_INVALID_INPUT if the model has no pooler. Default false. */
  pooler?: boolean | undefined
}

/**
 * What happens to an input with more tokens than the limit. Special tokens at its ends ([CLS] and [SEP], say) are kept always, and
 * every window has its own; "content" is what lies between them. A pair is never cut: it is ERR_TOO_MANY_TOKENS.
 *
 * - 'error': ERR_TOO_MANY_TOKENS.
 * - 'truncate', short for `{ truncate: 'head' }`: the first tokens are kept. 'tail': the last ones. 'head+tail': the first `head`
 *   content tokens and the last ones that there is room for beside them; by default `head` is a quarter of the room, 128 of 510
 *   (Sun et al. 2019). `texts[i].truncated` says how many tokens were left out.
 * - 'window', short for `{ window: {} }`: the text is encoded in windows that overlap, so every token has a state.
 * - `{ sample: { windows, seed } }`: that many windows, drawn at random, none overlapping (fewer if there is no room for so many).
 *   The text's rows are those of the windows only; `texts[i].sampled` says which. The same seed draws the same windows of a text.
 */
export type Overflow =
  | 'error'
  | 'truncate'
  | 'window'
  | { truncate: 'head' | 'tail' | 'head+tail'; head?: number | undefined }
  | { window: WindowOptions }
  | { sample: { windows: number; seed: number } }

/** Windows over a long text. */
export interface WindowOptions {
  /** Tokens of a window, special tokens included. Default: the limit. A text of more tokens is split. */
  size?: number | undefined
  /**
   * Content tokens from the start of one window to the start of the next (not the overlap, which Transformers' tokenizers call
   * stride). Default: half of a window's content. The last window ends with the text, so it may begin sooner.
   */
  stride?: number | undefined
  /**
   * The state of a token that several windows have. 'center' (the default): that of the window in whose middle it is most nearly,
   * where it has most context on both sides; special tokens before the text are the first window's, those behind it the last one's.
   * 'mean': the average over the windows that have it; every window has the special tokens.
   */
  merge?: 'center' | 'mean' | undefined
}

/** Options of {@link Encoder.embed}. An option that does not exist is an error. */
export interface EmbedOptions<P extends Precision = Precision> {
  /** The layers to combine, as in {@link EncodeOptions.layers}. Default -1: the last block's output. */
  layers?: 'all' | number | readonly number[] | undefined
  /**
   * How the layers become one, token by token: their average (the default), sum, or the largest of each component; 'concat' puts
   * them one behind the other, in the order given; 'none' keeps them apart, a vector for each ({@link Embeddings.layer}). An array
   * has one weight for each layer, used as given. `scalarMix` is γ · Σ softmax(s)ₖ hₖ (Peters et al. 2018), γ 1 by default.
   */
  combine?:
    | 'mean'
    | 'sum'
    | 'max'
    | 'concat'
    | 'none'
    | readonly number[]
    | { scalarMix: readonly number[]; gamma?: number | undefined }
    | undefined
  /** How token vectors become one. Default: what the model's files say, else 'mean'. */
  pool?: Pool | undefined
  /** Whether special tokens such as [CLS] are pooled with the others. Default true. */
  includeSpecialTokens?: boolean | undefined
  /** Whether to make vectors unit length (L2). Default: what the model's files say, else false. */
  normalize?: boolean | undefined
  /** Only the first so many numbers of a vector, taken before it is normalized (Matryoshka models). */
  truncateDim?: number | undefined
  /** A text that is put before each input, such as 'query: '; '' for none. Default: the model's default prompt, where it has one. */
  prompt?: string | undefined
  /** One of the prompts that the model's files name, instead of `prompt`. */
  promptName?: string | undefined
  /** What happens to an input that is too long. Default 'error'. */
  overflow?: Overflow | undefined
  /**
   * The most tokens of an input, special ones and the prompt's included; windows are of this size. Default: what the model's files
   * say its vectors are made for (`max_seq_length` in sentence_bert_config.json, 256 for the model that comes with this package),
   * else `config.maxTokens`, which it cannot exceed.
   */
  maxTokens?: number | undefined
  /** How the vectors' numbers are stored; see {@link VectorData}. Default 'float32'. */
  precision?: P | undefined
  /** Aborts the call, as in {@link TokenizeOptions.signal}. */
  signal?: AbortSignal | undefined
}

/**
 * How token vectors become one, as sentence-transformers defines it; masked tokens never count. 'mean': their average. 'cls': the
 * first token's. 'max': the largest of each component. 'last': the last token's. 'weightedmean': the average weighted with the
 * token's position, counted from 1. 'pooler': the model's own, tanh(W · h + b) of the last layer's first token.
 *
 * 'cls', 'last' and 'pooler' take a token which, in a text of several windows, has seen one of them only: that is ERR_INVALID_INPUT
 * unless the windows are averaged (`merge: 'mean'`).
 */
export type Pool = 'mean' | 'cls' | 'max' | 'last' | 'weightedmean' | 'pooler'

/** How the numbers of vectors are stored. */
export type Precision = keyof VectorData

/** The array that holds vectors in each precision, one vector after the other. Numbers are little-endian on every platform. */
export interface VectorData {
  /** 4 bytes a number, as computed. */
  float32: Float32Array
  /** 2 bytes a number: the bits of IEEE 754 binary16, rounded to the nearest, ties to even. */
  float16: Uint16Array
  /**
   * 1 byte a number, -127 to 127: number ≈ scale · byte, rounded to the nearest, ties to even, with the vector's own
   * scale = max |number| / 127 in {@link Embeddings.scales}.
   */
  int8: Int8Array
  /**
   * 1 bit a number, 1 where it is above 0: ⌈dim / 8⌉ bytes a vector, its first number in the highest bit of the first byte, zeros
   * behind the last (numpy.packbits; sentence-transformers' 'ubinary').
   */
  binary: Uint8Array
}

/**
 * Vectors of texts or spans: one block of numbers and views of it, as {@link HiddenStates}.
 */
export interface Embeddings<P extends Precision = 'float32'> {
  /** [vector][dim]: a vector for each text, or each of its spans, in order. With combine 'none': [layer][vector][dim]. */
  readonly data: VectorData[P]
  /** The numbers of a vector. */
  readonly dim: number
  /** How they are stored. */
  readonly precision: P
  /** The scale of each vector of `data`; for precision 'int8' only. */
  readonly scales: P extends 'int8' ? Float32Array : undefined
  /** The layers, in `data`'s order, with combine 'none'; else undefined. */
  readonly layers: readonly number[] | undefined
  /** How tokens were pooled, and who said so: the call's option, the model's files, or nobody, which means 'mean'. */
  readonly pooling: { readonly pool: Pool; readonly source: 'option' | 'model' | 'default' }
  /** Whether vectors were made unit length. */
  readonly normalized: boolean
  /** The inputs as the model saw them. With a prompt, offsets are into the text without it; the prompt's tokens have [0, 0]. */
  readonly texts: readonly TokenizedText[]

  /**
   * The vector of a text, or of one of its spans; a view. For an input with spans, `span` must be given. In JSON a typed array is an
   * object: write `Array.from(vectors.get(0))`.
   */
  get(text: number, span?: number): VectorData[P]
  /** The vectors of one layer, with combine 'none': `layer(k).get(i)`. Negative layers count from the model's end. */
  layer(layer: number): Embeddings<P>
}

/** Options of {@link Encoder.stream}. An option that does not exist is an error. */
export interface StreamOptions {
  /**
   * About how many tokens a batch has. Larger ones keep more threads busy and hold more memory: results of up to four batches are held
   * at a time. Default for hidden states: 256 a thread, at least 2048; 16,384 on a GPU. Twice as many for vectors.
   */
  batchTokens?: number | undefined
  /** How many inputs are read before the consumer has taken their results, at most. Default: half of `batchTokens`, at least 1024. */
  window?: number | undefined
  /** Called after each batch. What it throws ends the stream. */
  progressCallback?: ((progress: StreamProgress) => void) | undefined
  /** Aborts the stream: what is under way ends, the source's `return()` is called, and the iteration rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/** Options of a stream of hidden states: those of {@link Encoder.encode} too. */
export interface EncodeStreamOptions extends StreamOptions, EncodeOptions {}

/** Options of a stream of vectors. */
export interface EmbedStreamOptions<P extends Precision = Precision> extends StreamOptions {
  /** Gives vectors instead of hidden states, with these options of {@link Encoder.embed}; true for its defaults. */
  embed: true | Omit<EmbedOptions<P>, 'signal'>
}

/** How far a stream is. */
export interface StreamProgress {
  /** Inputs read from the source. */
  read: number
  /** Inputs encoded. */
  done: number
  /** Their tokens. */
  tokens: number
  /** Seconds since the first input was asked for. */
  seconds: number
}

/**
 * One input's hidden states. Each array is a copy of its own when it is read: one that is kept keeps nothing else alive. The object
 * itself keeps its whole batch; keep what you need of it.
 */
export interface StreamedStates<I extends EncoderInput = EncoderInput> {
  /** The input's number in the source, counted from 0. */
  readonly index: number
  /** The input as the source gave it. */
  readonly input: I
  /** The input as the model saw it. */
  readonly text: TokenizedText
  /** The layers kept; as {@link HiddenStates.layers}. */
  readonly layers: readonly number[]
  /** The length of one token's hidden state. */
  readonly hiddenSize: number
  /** [hidden]: the model's pooler over the first token, if `pooler` was true; a copy. */
  readonly poolerOutput: Float32Array | undefined

  /** A copy of the tokens (with the option `words`: the words) in a layer, [token][hidden]. Negative layers count from the model's end. */
  get(layer: number): Float32Array
  /** A copy of one token in a layer, [hidden]. */
  token(layer: number, token: number): Float32Array
  /** A copy of one head's attention weights, [tokens × tokens]; as {@link HiddenStates.attention}. */
  attention(layer: number, head: number): Float32Array
}

/** One input's vector. It is a copy of its own: a vector that is kept keeps no others alive. */
export interface StreamedVectors<I extends EmbedInput = EmbedInput, P extends Precision = 'float32'> {
  /** The input's number in the source, counted from 0. */
  readonly index: number
  /** The input as the source gave it. */
  readonly input: I
  /** The input's vector. An input with spans has several, and with combine 'none' each layer has one: these are in `vectors`. */
  readonly vector: VectorData[P]
  /** All about this input's vectors: `vectors.get(0, span)`, `vectors.layer(k).get(0)`, `vectors.scales`, `vectors.texts[0]`. */
  readonly vectors: Embeddings<P>
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
export interface HiddenStates extends Disposable {
  /** Everything, [layer][token of all texts][hidden], float32. With the option `words`, words take the place of tokens here. */
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
  /** One token (with `words`: one word) of a text in a layer, [hidden]. */
  token(layer: number, text: number, token: number): Float32Array
  /**
   * The attention weights of one head in one text, [tokens × tokens], if `attentions` was true: how much each token (a row)
   * takes from each (a column). Rows add up to 1; a masked token has 0 in them. Layers are numbered as everywhere: `layer`'s weights
   * are those with which block `layer` made hidden state `layer`, Hugging Face's `attentions[layer - 1]`. Layer 0 has none.
   */
  attention(layer: number, head: number, text: number): Float32Array
  /** A copy of a layer laid out as Transformers does, with zeros behind the shorter texts; or ERR_OUT_OF_MEMORY. */
  padded(layer: number): PaddedStates
  /**
   * Gives the memory of `data`, `poolerOutput` and `attentions` back at once, for a later result. They and all views of them are empty from
   * then on; the methods throw ERR_DISPOSED. Without it the memory goes when JavaScript collects its garbage, as any array's does: in
   * a loop over large batches that is up to three results later.
   */
  dispose(): void
  /** `using states = await bert.encode(…)` disposes at the end of the block. */
  [Symbol.dispose](): void
}

/** What {@link HiddenStates.padded} gives. */
export interface PaddedStates {
  /** [text][position][hidden]. */
  data: Float32Array
  /** [texts, tokens (or words) of the longest text, hidden size]. */
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
  /** The words, where they are the rows of the result (option `words` of encode); else undefined. */
  readonly words: Word[] | undefined
  /** How many tokens `overflow: 'truncate'` left out; they are in none of these columns. */
  readonly truncated: number
  /**
   * The windows that `overflow: { sample }` drew, as ranges of the tokens that {@link Encoder.tokenize} gives for the text; the
   * columns here have those and the special tokens only. Undefined where nothing was drawn.
   */
  readonly sampled: [start: number, end: number][] | undefined
  /** All of it as a plain object, which can be spread, cloned and sent. */
  toJSON(): Omit<TokenizedText, 'toJSON'>
}

/**
 * Looks at a model without loading it: its small files, and the headers of its weights.
 *
 * What is wrong with one of its files is among the `notices`, so that the others are shown.
 *
 * @param model A folder, a file of weights or a name; without it the model that comes with this package. Of a name on the hub that
 *   the cache does not have, only small files and the beginnings of safetensors are read; nothing is written, and `download` says
 *   what {@link Encoder.fromPretrained} would download.
 * @throws {@link BertLayersError} ERR_MODEL_NOT_FOUND, ERR_DOWNLOAD, ERR_INVALID_INPUT (an option), ERR_DEVICE_UNAVAILABLE (an
 *   instruction set was chosen that this machine lacks).
 * @example
 * const { config, parameters, memory, download, notices } = await inspect('bert-base-uncased')
 */
export declare function inspect(model?: string, options?: InspectOptions): Promise<Inspection>

/** Options of {@link inspect}: where the model is. An option that does not exist is an error. */
export type InspectOptions = Pick<
  FromPretrainedOptions,
  'revision' | 'cacheDir' | 'localFilesOnly' | 'progressCallback' | 'signal'
>

/** The formats that weights are read from; the first of these that a model has is the one that is loaded. */
export type WeightFormat = 'safetensors' | 'pytorch' | 'flax' | 'tensorflow'

/** What {@link inspect} gives. */
export interface Inspection {
  /** The folder that the model's files are in, or would be downloaded to. */
  folder: string
  /** `model_type` of config.json, whether it is supported or not. */
  modelType?: string
  /**
   * What the model is by its config.json; undefined where that is of no model that can be loaded, and `notices` says why. Whether
   * the weights have the tensors that it speaks of is for loading to find out.
   */
  config: EncoderConfig | undefined
  /** The weights in each format that is there; the first are those that are loaded. */
  weights: {
    format: WeightFormat
    /** The file, or the index of several, by its name in `folder`. */
    file: string
    /** Bytes of all its files. */
    bytes: number
    /** The number of tensors; undefined where the files cannot be read, or are not here yet, and `notices` says so. */
    tensors?: number
    /** How many values are stored in each type, such as `{ F32: 109482240 }`. */
    dtypes: Record<string, number>
  }[]
  /** The number of the encoder's parameters; 0 where the weights cannot be read, or not before they are downloaded: see `notices`. */
  parameters: number
  /** The number of parameters of heads, which are left aside. */
  headParameters: number
  /** The heads that are left aside, such as 'cls.predictions'. */
  heads: string[]
  /** Whether the model has a pooler. */
  hasPooler: boolean
  /**
   * The tokenizer: the file it is read from, its kind ('WordPiece', 'BPE', 'Unigram', 'WordLevel') and the number of its tokens, these
   * two where the file is here.
   */
  tokenizer?: { file: string; kind?: string; tokens?: number }
  /** How the model's files say that tokens become one vector; undefined where they do not say, or ask for what is not known. */
  pooling?: Pool
  /** The files of sentence-transformers that say how vectors are made, such as '1_Pooling/config.json'. */
  poolingFiles: string[]
  /**
   * Bytes that the weights take on a CPU in each dtype, to within a few percent; empty where `config` is undefined or the weights cannot
   * be read. The tokenizer (some MB), and while texts are computed their activations and results, come on top.
   */
  memory: Partial<Record<Dtype, number>>
  /**
   * What loading it by this name downloads from the hub. Undefined for folders, files and packages, and where nothing may be
   * downloaded (`localFilesOnly`, HF_HUB_OFFLINE).
   */
  download?: Download
  /** The instruction set that the arithmetic uses on this machine, such as 'amx' or 'avx512'. */
  instructionSet: string
  /** What you should know: formats that are passed over, files that are missing, damaged or contradict each other. */
  notices: string[]
}

/** The files that loading a model from the hub needs. They go into `folder` of {@link Inspection}. */
export interface Download {
  /** The commit that the name, or its `revision`, stands for now. */
  commit: string
  /** Each file, its bytes, and how many of these the cache has already: all of them, or a part that an earlier download left. */
  files: { file: string; bytes: number; cachedBytes: number }[]
  /** Bytes of all files. */
  bytes: number
  /** Bytes that are not in the cache yet. */
  missingBytes: number
}

/**
 * Writes a model, whatever format its weights are in, to a folder in Hugging Face layout: config.json, model.safetensors, and the
 * files of its tokenizer and of sentence-transformers. All tensors are kept, heads too, under the names of Transformers' PyTorch models.
 *
 * One tensor is in memory at a time. The folder has its name once it is complete.
 *
 * @param source A folder, a file of weights beside its config.json or bert_config.json, or a name; a name on the hub is
 *   downloaded as {@link Encoder.fromPretrained} does, unless `localFilesOnly` is true.
 * @param target The folder to write.
 * @throws {@link BertLayersError} ERR_INVALID_INPUT where `target` has files already and `force` is not true, where it cannot be
 *   written, or where a value does not fit into `dtype`; ERR_MODEL_NOT_FOUND, ERR_DOWNLOAD, ERR_MODEL_INVALID, ERR_MODEL_UNSUPPORTED.
 * @example
 * await convert('./uncased_L-12_H-768_A-12', './bert-base-uncased', { dtype: 'bfloat16' })
 */
export declare function convert(source: string, target: string, options?: ConvertOptions): Promise<Conversion>

/** Options of {@link convert}. An option that does not exist is an error. */
export interface ConvertOptions extends InspectOptions {
  /** The type to store real numbers in, to the nearest. Default: each tensor keeps its own. */
  dtype?: Exclude<Dtype, 'int8'> | Exclude<DtypeAlias, 'q8'> | undefined
  /** Whether to replace files of the model that `target` has already, one after the other; others stay. Default false. */
  force?: boolean | undefined
}

/** What {@link convert} wrote. */
export interface Conversion {
  /** The file of weights that was read, or the index of several. */
  source: string
  /** Its format. */
  format: WeightFormat
  /** The folder that was written. */
  folder: string
  /** The files that were written, by their names in it. */
  files: string[]
  /** The number of tensors. */
  tensors: number
  /** Bytes of their values. */
  bytes: number
}

/** A word of a text. */
export interface Word {
  /** The word itself: `text.slice(...offsets)`, or as given in `{ words }`. */
  text: string
  /** Start and end in UTF-16 code units of the text; for `{ words }` of the word itself. */
  offsets: [start: number, end: number]
  /** Its number in its text, as in `wordIds`: where tokens were left out, words are missing too. */
  wordId: number
  /** 0, or 1 for the second text of a pair. */
  sequenceId: number
  /**
   * Its tokens, start and end in the text's columns. Where `overflow` left tokens out, a word at a cut has those that stayed only;
   * its row, and `text` and `offsets` where a text was given, are of these.
   */
  tokens: [start: number, end: number]
}

/** Numbers in an array or a typed array: not of bigint, and not those in which `embed` gives bits ('binary', 'float16'). */
export type NumericVector =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8ClampedArray
  | Int16Array
  | Int32Array
  | Uint32Array

/**
 * a·b = Σ aᵢbᵢ, in double precision.
 *
 * The three functions take numbers as they are. Of int8 vectors the cosine is that of the vectors; dot products and distances lack
 * their scales. What `precision` 'float16' and 'binary' give are bits, not numbers, and refused.
 *
 * @throws {@link BertLayersError} ERR_INVALID_INPUT for vectors of different lengths, empty ones, or what are no numbers. NaN in
 *   a vector gives NaN. This goes for all three functions.
 */
export declare function dot(a: NumericVector, b: NumericVector): number

/** a·b / (‖a‖ ‖b‖), from -1 to 1, of vectors of any length; 0 if either vector is zero. */
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
  /** An input has more tokens than the model takes, and `overflow` does not say what to do with it. */
  | 'ERR_TOO_MANY_TOKENS'
  /** A device that is not there, or that cannot do what was asked. */
  | 'ERR_DEVICE_UNAVAILABLE'
  /** The message says how many bytes were asked for. */
  | 'ERR_OUT_OF_MEMORY'
  /** More calls at a time than `maxQueue` allows. */
  | 'ERR_BUSY'
  /** A model could not be downloaded: no network, no permission, a hub in trouble, a full disk, a wrong file. */
  | 'ERR_DOWNLOAD'
  /** What was used was disposed of: the encoder, the index, the hidden states. */
  | 'ERR_DISPOSED'
  /** A defect in this package, or its native part is missing. */
  | 'ERR_INTERNAL'

/** What every call rejects with; except for an aborted one, which rejects with `signal.reason`. */
export declare class BertLayersError extends Error {
  /** A message says what was wrong and what to do. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; index?: number })
  readonly name: 'BertLayersError'
  /** Stable: programs may rely on it. */
  readonly code: ErrorCode
  /** Of an error in {@link Encoder.stream}: the number of the input that caused it. */
  readonly index?: number
  /** True for errors of another copy of this package in the process too, as when it is both imported and required. */
  static [Symbol.hasInstance](value: unknown): boolean
}
