import type * as api from '../index.d.ts'
import { abortable } from './abort.ts'
import type { CancelFlag, EncodeRequest, LoadRequest, NativeEncoder, NativeInput, NativeTokens } from './binding.ts'
import { BertLayersError, invalidInput, settle, unwrap } from './errors.ts'
import { HiddenStates } from './hidden-states.ts'
import { readIdsToDecode, readInputs, readModel } from './inputs.ts'
import { native } from './native.ts'
import { readDecodeOptions, readEncodeOptions, readLoadOptions, readTokenizeOptions } from './options.ts'
import { defaultModelFolder, packageFolders } from './packages.ts'
import { tokenizedTexts } from './tokenized-text.ts'

type Inputs = api.EncoderInput | readonly api.EncoderInput[]

export class Encoder implements api.Encoder {
  readonly config: api.EncoderConfig
  readonly device: string
  readonly dtype: api.Dtype
  readonly fingerprint: string
  readonly #native: NativeEncoder
  #disposal: Promise<void> | undefined

  private constructor(encoder: NativeEncoder) {
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
  }

  static async fromPretrained(model?: string, options?: api.FromPretrainedOptions): Promise<Encoder> {
    const { signal, device, dtype, revision, cacheDir, threads } = readLoadOptions(options)
    signal?.throwIfAborted()
    const request: LoadRequest = { ...locate(model), device, dtype }
    if (revision !== undefined) request.revision = revision
    if (cacheDir !== undefined) request.cacheDir = cacheDir
    if (threads !== undefined) request.threads = threads
    const { loadEncoder, CancelFlag } = native()
    const cancel = new CancelFlag()
    const loading = settle(() => loadEncoder(request, cancel))
    const encoder = await abortable(signal, cancel, loading).catch(error => {
      // An aborted load may finish all the same: nobody would ever dispose of it.
      loading.then(late => late.dispose()).catch(() => {})
      throw error
    })
    return new Encoder(encoder)
  }

  async encode(inputs: Inputs, options?: api.EncodeOptions): Promise<api.HiddenStates> {
    const encoder = this.#open()
    const { signal, layers, addSpecialTokens, pooler, attentions } = readEncodeOptions(options)
    signal?.throwIfAborted()
    const request: EncodeRequest = { addSpecialTokens, pooler, attentions }
    if (layers !== undefined) request.layers = layers
    const given = readInputs(inputs)
    const cancel = newCancelFlag()
    const states = await abortable(
      signal,
      cancel,
      settle(() => encoder.encode(given, request, cancel)),
    )
    const texts = tokenizedTexts(encoder, states.tokens, given)
    return new HiddenStates(states, texts, this.config)
  }

  async tokenize(inputs: Inputs, options?: api.TokenizeOptions): Promise<api.TokenizedText[]> {
    const { given, columns } = await this.#tokens(inputs, options)
    return tokenizedTexts(this.#native, columns, given)
  }

  countTokens(input: api.EncoderInput, options?: api.TokenizeOptions): Promise<number>
  countTokens(inputs: readonly api.EncoderInput[], options?: api.TokenizeOptions): Promise<number[]>
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

  async #tokens(
    inputs: Inputs,
    options?: api.TokenizeOptions,
  ): Promise<{ given: NativeInput[]; columns: NativeTokens }> {
    const encoder = this.#open()
    const { signal, addSpecialTokens } = readTokenizeOptions(options)
    signal?.throwIfAborted()
    const given = readInputs(inputs)
    const cancel = newCancelFlag()
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

function newCancelFlag(): CancelFlag {
  const { CancelFlag } = native()
  return new CancelFlag()
}

function locate(model: string | undefined): Pick<LoadRequest, 'model' | 'packageFolders'> {
  if (model === undefined) return { model: defaultModelFolder(), packageFolders: [] }
  const name = readModel(model)
  return { model: name, packageFolders: packageFolders(name) }
}
