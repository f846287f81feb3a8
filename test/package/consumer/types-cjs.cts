import bertLayers = require('bert-layers')

async function encode(inputs: bertLayers.EncoderInput[]): Promise<bertLayers.HiddenStates> {
  await using bert = await bertLayers.Encoder.fromPretrained('a-model', { device: 'auto', dtype: 'float32' })
  const states = await bert.encode(inputs, { layers: [0, -1] })
  const view: Float32Array = states.token(-1, 0, 0)
  const spans: [number, number][] = states.texts.flatMap(text => text.offsets)
  console.log(view.length, spans.length)
  // @ts-expect-error: there is no such option
  await bert.encode(inputs, { layer: 1 })
  return states
}

function codeOf(error: unknown): string {
  return error instanceof bertLayers.BertLayersError ? error.code : 'another error'
}

export = { encode, codeOf }
