import { BertLayersError, Encoder, type EncoderInput, type HiddenStates } from 'bert-layers'

export async function encode(inputs: EncoderInput[]): Promise<HiddenStates> {
  await using bert = await Encoder.fromPretrained('a-model', { device: 'auto', dtype: 'float32' })
  const states = await bert.encode(inputs, { layers: [0, -1] })
  const view: Float32Array = states.token(-1, 0, 0)
  const spans: [number, number][] = states.texts.flatMap(text => text.offsets)
  console.log(view.length, spans.length)
  // @ts-expect-error: there is no such option
  await bert.encode(inputs, { layer: 1 })
  return states
}

export function codeOf(error: unknown): string {
  return error instanceof BertLayersError ? error.code : 'another error'
}
