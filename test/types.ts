/**
 * Checked by tsc, never run: index.d.ts, which is written by hand, says what ts/ does, and says it in a usable way.
 */
import { BertLayersError, type Device, type Dtype, Encoder, type HiddenStates, type TokenizedText } from 'bert-layers'
import type * as Contract from '../index.d.ts'
import type { Embeddings as EmbeddingsSource } from '../ts/embeddings.ts'
import type { HiddenStates as HiddenStatesSource } from '../ts/hidden-states.ts'
import type * as Source from '../ts/index.ts'
import type { StreamedStates as StreamedStatesSource } from '../ts/streamed-states.ts'
import type { StreamedVectors as StreamedVectorsSource } from '../ts/streamed-vectors.ts'
import type { TokenizedText as TokenizedTextSource } from '../ts/tokenized-text.ts'
import type { Neighbors as NeighborsSource } from '../ts/vector-index.ts'

/** True only for the very same type, readonly and optional marks included. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
type Assignable<A, B> = [A] extends [B] ? true : false
type All<T extends true[]> = T
/** The public face of a class: without its private fields, which make every class a type of its own. */
type Public<T> = { [K in keyof T]: T[K] }
/** console.log's hook is for Node, not for readers of the contract. */
type Described<T> = { [K in keyof T as K extends typeof inspectCustom ? never : K]: T[K] }
declare const inspectCustom: typeof import('node:util').inspect.custom

export type Pins = All<
  [
    // The same exports.
    Equal<keyof typeof Contract, keyof typeof Source>,
    // The same members, of the same types.
    Equal<Public<Source.Encoder>, Public<Contract.Encoder>>,
    Assignable<Source.Encoder, Contract.Encoder>,
    Equal<keyof typeof Contract.Encoder, keyof typeof Source.Encoder>,
    Equal<Parameters<typeof Source.Encoder.fromPretrained>, Parameters<typeof Encoder.fromPretrained>>,
    Equal<Public<HiddenStatesSource>, Public<Contract.HiddenStates>>,
    Equal<Public<EmbeddingsSource<Contract.Precision>>, Public<Contract.Embeddings<Contract.Precision>>>,
    Equal<Public<EmbeddingsSource<'binary'>>, Public<Contract.Embeddings<'binary'>>>,
    Equal<Public<StreamedStatesSource<string>>, Public<Contract.StreamedStates<string>>>,
    Assignable<StreamedVectorsSource<string, 'int8'>, Contract.StreamedVectors<string, 'int8'>>,
    Equal<Public<Described<TokenizedTextSource>>, Public<Contract.TokenizedText>>,
    Equal<Public<Source.BertLayersError>, Public<Contract.BertLayersError>>,
    Equal<keyof typeof Contract.BertLayersError, keyof typeof Source.BertLayersError>,
    Equal<ConstructorParameters<typeof Contract.BertLayersError>, ConstructorParameters<typeof Source.BertLayersError>>,
    Equal<typeof Contract.inspect, typeof Source.inspect>,
    Equal<typeof Contract.convert, typeof Source.convert>,
    Equal<Public<Source.VectorIndex>, Public<Contract.VectorIndex>>,
    Equal<keyof typeof Contract.VectorIndex, keyof typeof Source.VectorIndex>,
    Equal<Parameters<typeof Source.VectorIndex.from>, Parameters<typeof Contract.VectorIndex.from>>,
    Equal<Public<NeighborsSource>, Public<Contract.Neighbors>>,
    Equal<typeof Source.cosineSimilarity, typeof Contract.cosineSimilarity>,
    Equal<typeof Source.euclideanDistance, typeof Contract.euclideanDistance>,
    Equal<typeof Source.dot, typeof Contract.dot>,
    // What a user's import resolves to is the contract.
    Equal<typeof Encoder, typeof Contract.Encoder>,
    Equal<typeof BertLayersError, typeof Contract.BertLayersError>,
  ]
>

/** Everything that the documentation shows compiles, with the types it says. */
export async function usage(signal: AbortSignal) {
  await using bert = await Encoder.fromPretrained('bert-base-uncased', { device: 'cuda:1', dtype: 'fp16', signal })
  const states: HiddenStates = await bert.encode(['你好，世界！', { text: 'a', pair: 'b' }], {
    layers: [0, -1],
    pooler: true,
  })
  const texts: readonly TokenizedText[] = states.texts
  const tokens: string[] = await bert.tokenize({ words: ['a', 'b'] as const }).then(([text]) => text?.tokens ?? [])
  const one: number = await bert.countTokens({ ids: Uint32Array.of(1), attentionMask: [true] })
  const several: number[] = await bert.countTokens(['a', 'b'])
  const either: number | number[] = await bert.countTokens('a' as string | string[])
  const scale: Float32Array = (await bert.embed('a', { precision: 'int8' })).scales
  const { data, shape } = states.padded(-1)
  const view: Float32Array = states.token(12, 0, 3)
  const vectors = await bert.embed(['a', { text: 'a b', spans: [[0, 1]] }], { layers: [1, 12], combine: [0.3, 0.7] })
  const vector: Float32Array = vectors.get(1, 0)
  const bytes: Uint8Array = (await bert.embed('a', { precision: 'binary', pool: 'cls' })).get(0)
  const words = await bert.encode('a', { words: 'mean', overflow: { window: { merge: 'mean' } } })
  const word: string | undefined = words.texts[0]?.words?.[0]?.text
  const streamed: [index: number, input: string, rows: Float32Array][] = []
  for await (const result of bert.stream(['a', 'b'], { layers: -1, window: 10, signal })) {
    streamed.push([result.index, result.input, result.get(-1)])
  }
  async function* pairs() {
    yield { text: 'a', pair: 'b' }
  }
  const packed: Uint8Array[] = []
  for await (const { input, vector } of bert.stream(pairs(), { embed: { precision: 'binary' } })) {
    if (input.pair !== '') packed.push(vector)
  }
  for await (const { vector } of bert.stream(new Set(['a']), { embed: true })) streamed.push([0, '', vector])
  return {
    texts,
    tokens,
    one,
    several,
    either,
    scale,
    data,
    shape,
    view,
    vector,
    bytes,
    word,
    streamed,
    packed,
    text: bert.decode([1, 2], { skipSpecialTokens: true }),
  }
}

export async function mistakes(bert: Encoder) {
  // @ts-expect-error: an encoder is loaded, not constructed
  new Encoder()
  // @ts-expect-error: no such option
  await bert.encode('a', { layer: 1 })
  // @ts-expect-error: truncate has its own name for each end
  await bert.encode('a', { overflow: 'head' })
  // @ts-expect-error: one of text, words and ids
  await bert.encode({ text: 'a', words: ['b'] })
  // @ts-expect-error: the same
  await bert.embed({ ids: [1], text: 'a' })
  // @ts-expect-error: spans are for embed
  await bert.encode({ text: 'a', spans: [[0, 1]] })
  // @ts-expect-error: no such pool
  await bert.embed('a', { pool: 'average' })
  // @ts-expect-error: no such precision
  await bert.embed('a', { precision: 'int4' })
  // @ts-expect-error: bigint ids must be converted
  await bert.encode({ ids: BigInt64Array.of(1n) })
  // @ts-expect-error: options of vectors go in embed
  bert.stream(['a'], { embed: true, layers: 1 })
  // @ts-expect-error: a source gives inputs
  bert.stream([1, 2])
  // @ts-expect-error: ids go in { ids }
  await bert.encode([101, 102])
  // @ts-expect-error: a code is one of the known ones
  new BertLayersError('ERR_OTHER', '')
  // @ts-expect-error: a view of the model, not a setting
  bert.device = 'cpu'
  // @ts-expect-error: dtype is spelled out
  const dtype: Dtype = 'fp32'
  // @ts-expect-error: no such device
  const device: Device = 'gpu'
  return { dtype, device }
}
