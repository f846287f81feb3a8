import type { HiddenStates, TokenizedText } from '../../index.d.ts'
import type { ModelSummary } from './texts.ts'

/** Rows and columns shown at either end of a matrix. */
const EDGE = 3
/** Characters of a text that its heading shows. */
const TITLE = 120
/** From this share of unknown pieces on, the vocabulary is probably the wrong one. */
const MANY_UNKNOWN = 0.25

/** An overview to read: the model, each text's tokens, and layer by layer each text's numbers, abbreviated. */
export function* textChunks(states: HiddenStates, model: ModelSummary): Iterable<string> {
  const { name, modelType, numLayers, hiddenSize, device, dtype } = model
  yield `${printable(name)}: ${modelType}, ${numLayers} layers, hidden size ${hiddenSize}, on ${device} in ${dtype}\n`
  const labels = states.texts.map(tokenLabels)
  for (const [index, text] of states.texts.entries()) {
    yield textHeading(text, index)
    yield `  ${text.ids.length} tokens: ${labels[index]!.join(' ')}\n${unknownHint(text)}`
  }
  for (const layer of states.layers) {
    yield `\nlayer ${layer}${layer === 0 ? ', embedding output' : ''}\n`
    for (const [index, { ids }] of states.texts.entries()) {
      yield `  text ${index} [${ids.length}, ${hiddenSize}]\n`
      yield* matrix(states.get(layer, index), hiddenSize, labels[index]!)
    }
  }
}

export function textHeading({ text }: TokenizedText, index: number): string {
  return `\ntext ${index}: ${printable(abbreviate(text ?? ''))}\n`
}

/** Tokens to read, an unknown one with what it stands for. */
export function tokenLabels({ text, tokens, offsets, unknownTokens }: TokenizedText): string[] {
  const unknown = new Set(unknownTokens)
  return tokens.map((token, at) => {
    const [start, end] = offsets[at]!
    return printable(unknown.has(at) ? `${token}(${text?.slice(start, end)})` : token)
  })
}

/** A vocabulary that does not know the language gives numbers that say little about the text. */
export function unknownHint({ text = '', unknownTokens, specialTokensMask }: TokenizedText): string {
  const pieces = specialTokensMask.filter(special => special === 0).length
  if (unknownTokens.length === 0 || unknownTokens.length < pieces * MANY_UNKNOWN) return ''
  const advice = /\p{Script=Han}/u.test(text)
    ? 'for Chinese try --model BAAI/bge-small-zh-v1.5, or a multilingual one such as bert-base-multilingual-cased'
    : 'try --model with one for its language, or a multilingual one such as bert-base-multilingual-cased'
  return `  ${unknownTokens.length} of ${pieces} pieces are unknown to this model's vocabulary; ${advice}\n`
}

/** The first and last rows and columns; each row ends with its token, so that wide characters do not spoil the columns. */
function* matrix(rows: Float32Array, width: number, labels: string[]): Iterable<string> {
  const shownRows = edges(rows.length / width)
  const shownColumns = edges(width)
  const cells = shownRows.map(row =>
    shownColumns.map(column => (row < 0 || column < 0 ? '…' : rows[row * width + column]!.toFixed(4))),
  )
  const cellWidths = shownColumns.map((_, at) => Math.max(...cells.map(line => line[at]!.length)))
  for (const [at, line] of cells.entries()) {
    const row = shownRows[at]!
    const label = row < 0 ? '' : `  ${labels[row]}`
    yield `    ${line.map((cell, column) => cell.padStart(cellWidths[column]!)).join('  ')}${label}\n`
  }
}

/** Indices to show of so many; -1 is where the others were left out. */
function edges(count: number): number[] {
  const all = Array.from({ length: count }, (_, index) => index)
  return count <= 2 * EDGE + 1 ? all : [...all.slice(0, EDGE), -1, ...all.slice(-EDGE)]
}

function abbreviate(text: string): string {
  const characters = [...text.slice(0, 2 * TITLE)]
  return characters.length > TITLE ? `${characters.slice(0, TITLE).join('')}…` : text
}

/** Control characters must not reach a terminal. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, control => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
