import type * as api from '../index.d.ts'
import { abortable } from './abort.ts'
import type { EncodeRequest, LoadRequest, NativeBinding, NativeEncoder, NativeInput, NativeTokens } from './binding.ts'
import { readEmbedOptions } from './embed-options.ts'
import { embeddings } from './embeddings.ts'
import { BertLayersError, invalidInput, settle, unwrap } from './errors.ts'
import { HiddenStates } from './hidden-states.ts'
import { readEmbedInput, readEmbedInputs, readIdsToDecode, readInput, readInputs, readSource } from './inputs.ts'
import { explain, locate } from './locate.ts'
import { nativeFor } from './native.ts'
import { readDecodeOptions, readEncodeOptions, readLoadOptions, readTokenizeOptions } from './options.ts'
import { stream } from './stream.ts'
import { readStreamOptions } from './stream-options.ts'
import { StreamedStates } from './streamed-states.ts'
import { StreamedVectors } from './streamed-vectors.ts'
import { tokenizedTexts } from './tokenized-text.ts'

type Binding = Pick<NativeBinding, 'CancelFlag' | 'releaseBuffer'>
type Inputs = api.EncoderInput | readonly api.EncoderInput[]

export class Encoder implements api.Encoder {
  readonly config: api.EncoderConfig
  readonly device: string
  readonly dtype: api.Dtype
  readonly fingerprint: string
  readonly #native: NativeEncoder
  /** Of the same binary as the encoder: there may be two in a process. */
  readonly #binding: Binding
  readonly #maxQueue: number
  /** Calls of encode and embed that have not settled. */
  #underWay = 0
  #disposal: Promise<void> | undefined

  private constructor(encoder: NativeEncoder, binding: Binding, maxQueue: number) {
    // JavaScript knows no private constructors.
    if (typeof (encoder as NativeEncoder | undefined)?.idsToTokens !== 'function') {
      throw invalidInput('an encoder is loaded, not constructed: use await Encoder.fromPretrained(model, options)')
    }
    const { modelType, numLayers, hiddenSize, numHeads, vocabSize, maxTokens } = encoder.config
    this.config = Object.freeze({ modelType, numLayers, hiddenSize, numHeads, vocabSize, maxTokens })
    this.device = encoder.device
    this.dtype = encoder.dtype as api.Dtype
    this.fingerprint = encoder.fingerprint
    this.#native = encoder
    this.#binding = binding
    this.#maxQueue = maxQueue
  }

  static async fromPretrained(model?: string, options?: api.FromPretrainedOptions): Promise<Encoder> {
    const { signal, device, dtype, lastLayer, threads, maxQueue, ...where } = readLoadOptions(options)
    signal?.throwIfAborted()
    // First of all: a device that is not there must not cost a download.
    const binding = await abortable(signal, { cancel() {} }, nativeFor(device))
    const place = await locate(model, { ...where, signal })
    signal?.throwIfAborted()
    const request: LoadRequest = { ...place.request, device, dtype, lastLayer }
    if (threads !== undefined) request.threads = threads
    const cancel = new binding.CancelFlag()
    const loading = settle(() => binding.loadEncoder(request, cancel))
    const encoder = await abortable(signal, cancel, loading).catch(error => {
      // An aborted load may finish all the same: nobody would ever dispose of it.
      loading.then(late => late.dispose()).catch(() => {})
      throw explain(error, place)
    })
    for (const notice of encoder.notices) warnOnce(notice)
    return new Encoder(encoder, binding, maxQueue)
  }

  async encode(inputs: Inputs, options?: api.EncodeOptions): Promise<api.HiddenStates> {
    this.#open()
    const checked = readEncodeOptions(options)
    checked.signal?.throwIfAborted()
    return this.#queued(async () => (await this.#encode(readInputs(inputs), checked)).states)
  }

  async embed<P extends api.Precision = 'float32'>(
    inputs: api.EmbedInput | readonly api.EmbedInput[],
    options?: api.EmbedOptions<P>,
  ): Promise<api.Embeddings<P>> {
    this.#open()
    const checked = readEmbedOptions(options)
    checked.signal?.throwIfAborted()
    return this.#queued(async () => (await this.#embed<P>(readEmbedInputs(inputs), checked)).vectors)
  }

  stream<I extends api.EmbedInput, P extends api.Precision = 'float32'>(
    source: Iterable<I> | AsyncIterable<I>,
    options: api.EmbedStreamOptions<P>,
  ): AsyncGenerator<api.StreamedVectors<I, P>, void, undefined>
  stream<I extends api.EncoderInput>(
    source: Iterable<I> | AsyncIterable<I>,
    options?: api.EncodeStreamOptions,
  ): AsyncGenerator<api.StreamedStates<I>, void, undefined>
  stream<I extends api.EncoderInput>(
    source: Iterable<I> | AsyncIterable<I>,
    options?: api.EncodeStreamOptions | api.EmbedStreamOptions,
  ): AsyncGenerator<api.StreamedStates<I> | api.StreamedVectors<I, api.Precision>, void, undefined> {
    const settings = readStreamOptions(options, this.#open().batchTokens)
    checkLayersOf(this.config, settings.embed ? settings.embed.request.layers : settings.encode.layers)
    const inputs = readSource<I>(source)
    if (settings.embed !== undefined) {
      const { request } = settings.embed
      checkPromptOf(this.#native, request.promptName)
      return stream(inputs, settings, {
        read: readEmbedInput,
        run: (given, signal) => this.#embed(given, { request, signal }),
        pick: ({ vectors }, at, index, input) => new StreamedVectors(vectors, at, index, input),
      })
    }
    const { encode } = settings
    return stream(inputs, settings, {
      read: readInput,
      run: (given, signal) => this.#encode(given, { ...encode, signal }),
      pick: ({ states }, at, index, input) => new StreamedStates(states, at, index, input),
    })
  }

  async tokenize(inputs: Inputs, options?: api.TokenizeOptions): Promise<api.TokenizedText[]> {
    const { given, columns } = await this.#tokens(inputs, options)
    return tokenizedTexts(this.#native, { tokens: columns }, given)
  }

  countTokens(input: api.EncoderInput, options?: api.TokenizeOptions): Promise<number>
  countTokens(inputs: readonly api.EncoderInput[], options?: api.TokenizeOptions): Promise<number[]>
  countTokens(inputs: Inputs, options?: api.TokenizeOptions): Promise<number | number[]>
  async countTokens(inputs: Inputs, options?: api.TokenizeOptions): Promise<number | number[]> {
    const { starts } = (await this.#tokens(inputs, options)).columns
    const counts = Array.from(starts.subarray(1), (end, text) => end - starts[text]!)
    return Array.isArray(inputs) ? counts : counts[0]!
  }

  decode(ids: api.NumberArray, options?: api.DecodeOptions): string {
    const encoder = this.#open()
    const { skipSpecialTokens } = readDecodeOptions(options)
    return unwrap(encoder.decode(readIdsToDecode(ids), skipSpecialTokens))
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#native.dispose()
    return this.#disposal
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Streams do not come here: they bound themselves. */
  async #queued<T>(call: () => Promise<T>): Promise<T> {
    if (this.#underWay >= this.#maxQueue) {
      throw new BertLayersError(
        'ERR_BUSY',
        `${this.#underWay} ${this.#underWay === 1 ? 'call is' : 'calls are'} under way, as many as maxQueue allows: await some of them first, give several texts to ` +
          'one call, use stream(), or load the model with a larger maxQueue',
      )
    }
    this.#underWay++
    try {
      return await call()
    } finally {
      this.#underWay--
    }
  }

  async #encode(given: NativeInput[], options: ReturnType<typeof readEncodeOptions>) {
    const encoder = this.#open()
    const { signal, layers, words, ...others } = options
    const request: EncodeRequest = others
    if (layers !== undefined) request.layers = layers
    if (words !== undefined) request.words = words
    const cancel = new this.#binding.CancelFlag()
    const answer = await abortable(
      signal,
      cancel,
      settle(() => encoder.encode(given, request, cancel)),
    )
    const texts = tokenizedTexts(encoder, answer, given)
    const states = new HiddenStates(answer, texts, this.config, this.#binding.releaseBuffer)
    return { states, tokens: answer.tokens.ids.length }
  }

  async #embed<P extends api.Precision>(given: NativeInput[], options: ReturnType<typeof readEmbedOptions>) {
    const encoder = this.#open()
    const { signal, request } = options
    const hasSpans = given.map(({ spans }) => spans !== undefined)
    const cancel = new this.#binding.CancelFlag()
    const answer = await abortable(
      signal,
      cancel,
      settle(() => encoder.embed(given, request, cancel)),
    )
    const texts = tokenizedTexts(encoder, answer, given)
    const vectors = embeddings(answer, texts, hasSpans, request.precision as P, this.config.numLayers)
    return { vectors, tokens: answer.tokens.ids.length }
  }

  async #tokens(
    inputs: Inputs,
    options?: api.TokenizeOptions,
  ): Promise<{ given: NativeInput[]; columns: NativeTokens }> {
    const encoder = this.#open()
    const { signal, addSpecialTokens } = readTokenizeOptions(options)
    signal?.throwIfAborted()
    const given = readInputs(inputs)
    const cancel = new this.#binding.CancelFlag()
    const tokenizing = settle(() => encoder.tokenize(given, addSpecialTokens, cancel))
    return { given, columns: await abortable(signal, cancel, tokenizing) }
  }

  #open(): NativeEncoder {
    if (this.#disposal === undefined) return this.#native
    throw new BertLayersError(
      'ERR_DISPOSED',
      'this encoder was disposed: load the model again with Encoder.fromPretrained',
    )
  }
}

/** Rust says so of every call; a stream's first call would come late. */
function checkLayersOf({ numLayers }: api.EncoderConfig, layers: number[] = []): void {
  const wrong = layers.find(layer => layer > numLayers || layer < -numLayers - 1)
  if (wrong === undefined) return
  throw invalidInput(
    `layer ${wrong} does not exist: this model has layers 0 (the embedding output) to ${numLayers}, or -1 to -${numLayers + 1} ` +
      'from the end',
  )
}

/** The same of a prompt's name. */
function checkPromptOf({ promptNames }: NativeEncoder, name: string | undefined): void {
  if (name === undefined || promptNames.includes(name)) return
  const there = promptNames.map(known => `'${known}'`).join(', ') || 'none'
  throw invalidInput(`this model has no prompt '${name}'; it has ${there}. A text of your own goes in prompt`)
}

const warned = new Set<string>()

function warnOnce(notice: string): void {
  if (warned.has(notice)) return
  warned.add(notice)
  process.emitWarning(notice, 'BertLayersWarning')
}
