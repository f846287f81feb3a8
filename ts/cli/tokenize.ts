import type { EncoderConfig, TokenizedText } from '../../index.d.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import type { TokenizeCommand } from './arguments.ts'
import { readTexts } from './lines.ts'
import { load } from './load.ts'
import { checkOut, writeAll } from './output.ts'
import { printable, textHeading, tokenLabels, unknownHint } from './text.ts'

const FORMATTERS = { text: textChunks, json: jsonChunks }

type Model = { name: string } & Pick<EncoderConfig, 'modelType' | 'vocabSize' | 'maxTokens'>

export async function tokenizeCommand(command: TokenizeCommand): Promise<void> {
  const { model, revision, cacheDir, localFilesOnly, format, out } = command
  if (out !== undefined) await checkOut(out)
  const { texts, explain } = await readTexts(command.texts)
  await using encoder = await load(model, { revision, cacheDir, localFilesOnly, device: 'cpu' })
  const tokenized = await encoder.tokenize(texts).catch(explain)
  const { modelType, vocabSize, maxTokens } = encoder.config
  const about = { name: model ?? DEFAULT_MODEL, modelType, vocabSize, maxTokens }
  await writeAll(FORMATTERS[format](tokenized, about), out)
}

/** A table for each text: a line a token, its name last, so that wide characters do not spoil the columns. */
function* textChunks(
  texts: readonly TokenizedText[],
  { name, modelType, vocabSize, maxTokens }: Model,
): Iterable<string> {
  yield `${printable(name)}: ${modelType}, ${vocabSize} entries in the vocabulary, at most ${maxTokens} tokens\n`
  for (const [index, text] of texts.entries()) {
    yield textHeading(text, index)
    const count = text.ids.length
    yield `  ${count} tokens${count > maxTokens ? `, ${count - maxTokens} too many for this model` : ''}\n${unknownHint(text)}`
    yield* table(text)
  }
}

function* table(text: TokenizedText): Iterable<string> {
  const { ids, offsets, wordIds, specialTokensMask, unknownTokens } = text
  const unknown = new Set(unknownTokens)
  const rows = tokenLabels(text).map((label, at) => {
    const special = specialTokensMask[at] === 1
    const span = special ? '' : offsets[at]!.join('-')
    const note = special ? '  special' : unknown.has(at) ? '  unknown' : ''
    return [String(at), String(ids[at]), span, String(wordIds[at] ?? ''), `${label}${note}`]
  })
  const head = ['token', 'id', 'offsets', 'word']
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map(row => row[column]!.length)))
  const line = (cells: string[], last: string) =>
    `  ${cells.map((cell, column) => cell.padStart(widths[column]!)).join('  ')}  ${last}\n`
  yield line(head, '').trimEnd().concat('\n')
  for (const row of rows) yield line(row.slice(0, -1), row.at(-1)!)
}

/** {model, texts: [{text, tokens, ids, offsets, wordIds, …}]}, a text at a time. */
function* jsonChunks(texts: readonly TokenizedText[], model: Model): Iterable<string> {
  yield `{"model":${JSON.stringify(model)},\n"texts":[`
  for (const [index, text] of texts.entries()) yield `${index > 0 ? ',' : ''}\n${JSON.stringify(text)}`
  yield '\n]}\n'
}
