import type { EmbedOptions, HiddenStates, Pool, TokenizedText } from 'bert-layers'

type Combine = NonNullable<EmbedOptions['combine']>
/** [token][number] */
type Rows = number[][]

/** What embed is defined as, done plainly with the states that encode gives: vectors of a text, one a layer with 'none'. */
export function reduced(
  states: HiddenStates,
  text: number,
  {
    combine,
    pool,
    includeSpecialTokens = true,
    normalize = false,
  }: { combine: Combine; pool: Pool; includeSpecialTokens?: boolean; normalize?: boolean },
  among: (token: number) => boolean = () => true,
): number[][] {
  const { specialTokensMask } = states.texts[text]!
  const layers = states.layers.map(layer => rowsOf(states, layer, text))
  const taken = specialTokensMask.flatMap((special, token) =>
    (includeSpecialTokens || special === 0) && among(token) ? [token] : [],
  )
  return combined(layers, combine).map(rows => {
    const vector = pooled(rows, taken, pool)
    // As torch.nn.functional.normalize.
    const length = normalize ? Math.max(Math.hypot(...vector), 1e-12) : 1
    return vector.map(x => x / length)
  })
}

/** The tokens of a text that a span of it has. */
export function tokensOf({ offsets, specialTokensMask }: TokenizedText, [start, end]: readonly [number, number]) {
  return (token: number) => specialTokensMask[token] === 0 && offsets[token]![0] < end && offsets[token]![1] > start
}

function rowsOf(states: HiddenStates, layer: number, text: number): Rows {
  const count = states.texts[text]!.ids.length
  return Array.from({ length: count }, (_, token) => Array.from(states.token(layer, text, token)))
}

function combined(layers: Rows[], combine: Combine): Rows[] {
  if (combine === 'none') return layers
  const first = layers[0]!
  if (combine === 'concat') return [first.map((_, token) => layers.flatMap(rows => rows[token]!))]
  const of = (reduce: (values: number[]) => number): Rows[] => [
    first.map((row, token) => row.map((_, at) => reduce(layers.map(rows => rows[token]![at]!)))),
  ]
  if (combine === 'max') return of(values => Math.max(...values))
  const weights = weightsOf(combine, layers.length)
  return of(values => values.reduce((sum, value, layer) => sum + weights[layer]! * value, 0))
}

function weightsOf(combine: Exclude<Combine, 'none' | 'concat' | 'max'>, count: number): readonly number[] {
  if (combine === 'mean') return Array(count).fill(1 / count)
  if (combine === 'sum') return Array(count).fill(1)
  if ('scalarMix' in combine) {
    const exponentials = combine.scalarMix.map(Math.exp)
    const sum = exponentials.reduce((a, b) => a + b)
    return exponentials.map(each => ((combine.gamma ?? 1) * each) / sum)
  }
  return combine
}

function pooled(rows: Rows, taken: number[], pool: Pool): number[] {
  if (pool === 'cls') return rows[taken[0]!]!
  if (pool === 'last') return rows[taken.at(-1)!]!
  const numbers = rows[0]!.map((_, at) => taken.map(token => rows[token]![at]!))
  if (pool === 'max') return numbers.map(values => Math.max(...values))
  const weights = taken.map(token => (pool === 'weightedmean' ? token + 1 : 1))
  const sum = weights.reduce((a, b) => a + b)
  return numbers.map(values => values.reduce((total, value, i) => total + weights[i]! * value, 0) / sum)
}
