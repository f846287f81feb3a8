import type { HiddenStates } from '../../index.d.ts'
import type { ModelSummary } from './texts.ts'

/** {model, layers, texts, hiddenStates: [layer][text][token][hidden]}, a token's row at a time. */
export function* jsonChunks(states: HiddenStates, model: ModelSummary): Iterable<string> {
  yield `{"model":${JSON.stringify(model)},\n"layers":${JSON.stringify(states.layers)},\n`
  yield `"texts":${JSON.stringify(states.texts)},\n"hiddenStates":[`
  for (const [slot, layer] of states.layers.entries()) {
    yield slot > 0 ? ',\n[' : '\n['
    for (const [index, { ids }] of states.texts.entries()) {
      yield index > 0 ? ',[' : '['
      for (const token of ids.keys()) yield (token > 0 ? ',' : '') + jsonRow(states.token(layer, index, token))
      yield ']'
    }
    yield ']'
  }
  yield '\n]}\n'
}

export function jsonRow(row: Float32Array): string {
  return `[${Array.from(row, jsonNumber).join()}]`
}

/** Nine digits are enough to give every float32 back exactly; JSON.stringify would lose the sign of -0. */
function jsonNumber(value: number): string {
  return Object.is(value, -0) ? '-0' : JSON.stringify(Number(value.toPrecision(9)))
}
