import type { HiddenStates as Contract, EncoderConfig, PaddedStates, TokenizedText } from '../index.d.ts'
import { Attentions } from './attentions.ts'
import type { NativeBinding, NativeHiddenStates } from './binding.ts'
import { BertLayersError, invalidInput } from './errors.ts'
import { ofThisRealm } from './realm.ts'
import { describe } from './validate.ts'

/** Views of the one buffer that Rust wrote. */
export class HiddenStates implements Contract {
  readonly data: Float32Array
  readonly layers: readonly number[]
  readonly texts: readonly TokenizedText[]
  readonly hiddenSize: number
  readonly poolerOutput: Float32Array | undefined
  readonly attentions: Float32Array | undefined
  readonly #attentions: Attentions | undefined
  readonly #numLayers: number
  /** Where each text's rows start, and their number at the end. A row is a token, or a word. */
  readonly #starts: Uint32Array
  readonly #row: 'token' | 'word'
  readonly #release: NativeBinding['releaseBuffer']
  #disposed = false

  constructor(
    states: Omit<NativeHiddenStates, 'cuts'>,
    texts: readonly TokenizedText[],
    { hiddenSize, numLayers, numHeads }: Pick<EncoderConfig, 'hiddenSize' | 'numLayers' | 'numHeads'>,
    release: NativeBinding['releaseBuffer'],
  ) {
    this.data = ofThisRealm(states.data)
    this.layers = Object.freeze([...states.layers])
    this.texts = texts
    this.hiddenSize = hiddenSize
    this.poolerOutput = states.poolerOutput && ofThisRealm(states.poolerOutput)
    this.attentions = states.attentions && ofThisRealm(states.attentions)
    this.#attentions = this.attentions && new Attentions(this.attentions, states.tokens.starts, numHeads)
    this.#numLayers = numLayers
    this.#starts = (states.words ?? states.tokens).starts
    this.#row = states.words === undefined ? 'token' : 'word'
    this.#release = release
  }

  layer(layer: number): Float32Array {
    return this.#view(layer, 0, this.#totalRows)
  }

  get(layer: number, text: number): Float32Array {
    const [start, end] = this.#bounds(text)
    return this.#view(layer, start, end)
  }

  token(layer: number, text: number, token: number): Float32Array {
    const [start, end] = this.#bounds(text)
    if (!Number.isInteger(token) || token < 0 || token >= end - start) {
      const has = end === start ? `no ${this.#row}s` : `${this.#row}s 0 to ${end - start - 1}`
      throw invalidInput(`text ${text} has ${has}, not ${describe(token)}`)
    }
    return this.#view(layer, start + token, start + token + 1)
  }

  attention(layer: number, head: number, text: number): Float32Array {
    if (this.#attentions === undefined) {
      throw invalidInput('attentions were not kept: encode with the option attentions: true')
    }
    this.#bounds(text)
    const slot = this.#slot(layer)
    if (this.layers[slot] === 0)
      throw invalidInput('layer 0, the embedding output, has no attention: layer 1 is the first')
    const blocks = this.layers.slice(0, slot).filter(kept => kept > 0).length
    return this.#attentions.get(blocks, head, text)
  }

  padded(layer: number): PaddedStates {
    this.#slot(layer) // or its error, before memory is taken
    const texts = this.texts.length
    const longest = this.texts.reduce((most, _, text) => {
      const [start, end] = this.#bounds(text)
      return Math.max(most, end - start)
    }, 0)
    const data = zeros(texts * longest * this.hiddenSize)
    for (let text = 0; text < texts; text++) data.set(this.get(layer, text), text * longest * this.hiddenSize)
    return { data, shape: [texts, longest, this.hiddenSize] }
  }

  dispose(): void {
    this.#disposed = true
    for (const array of [this.data, this.poolerOutput, this.attentions]) {
      // Nothing is left of one that was transferred to another thread.
      if (array !== undefined && array.buffer.byteLength > 0) this.#release(array.buffer)
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  get #totalRows(): number {
    return this.#starts[this.#starts.length - 1]!
  }

  #view(layer: number, from: number, to: number): Float32Array {
    const firstRow = this.#slot(layer) * this.#totalRows
    return this.data.subarray((firstRow + from) * this.hiddenSize, (firstRow + to) * this.hiddenSize)
  }

  /** Where in `data` a layer is. */
  #slot(layer: number): number {
    if (this.#disposed) {
      throw new BertLayersError(
        'ERR_DISPOSED',
        'these hidden states were disposed of: read them, or copy with slice(), before',
      )
    }
    const slot = this.layers.indexOf(layer < 0 ? this.#numLayers + 1 + layer : layer)
    if (slot >= 0) return slot
    throw invalidInput(
      `layer ${describe(layer)} was not kept; kept: ${this.layers.join(', ')} (the model has layers 0 to ${this.#numLayers})`,
    )
  }

  #bounds(text: number): [start: number, end: number] {
    if (!Number.isInteger(text) || text < 0 || text >= this.texts.length) {
      throw invalidInput(`there are texts 0 to ${this.texts.length - 1}, not ${describe(text)}`)
    }
    return [this.#starts[text]!, this.#starts[text + 1]!]
  }
}

function zeros(length: number): Float32Array {
  try {
    return new Float32Array(length)
  } catch (cause) {
    const bytes = length * Float32Array.BYTES_PER_ELEMENT
    const message = `padded() needs ${bytes} bytes, more than there is memory for: read the texts with get(), which copies nothing`
    throw new BertLayersError('ERR_OUT_OF_MEMORY', message, { cause })
  }
}
