import type { Inspection } from '../../index.d.ts'
import { inspect } from '../files.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import type { InspectCommand } from './arguments.ts'
import { writeAll } from './output.ts'
import { progressBar } from './progress.ts'
import { printable } from './text.ts'

export async function inspectCommand({ name: _, model, format, ...options }: InspectCommand): Promise<void> {
  const bar = progressBar(process.stderr)
  const seen = await inspect(model, { ...options, progressCallback: bar.update }).finally(bar.end)
  const chunks = format === 'json' ? [`${JSON.stringify(seen, null, 2)}\n`] : textLines(model ?? DEFAULT_MODEL, seen)
  await writeAll(chunks, undefined)
}

function* textLines(name: string, seen: Inspection): Iterable<string> {
  const { config, weights, tokenizer, memory, heads } = seen
  yield `${printable(name)}\n`
  yield row('folder', seen.folder)
  yield row('family', seen.modelType ?? 'unknown')
  if (config) {
    yield row('layers', `${config.numLayers}, numbered 0 (embedding output) to ${config.numLayers}`)
    yield row('hidden size', `${config.hiddenSize}, ${config.numHeads} heads`)
    yield row('vocabulary', `${count(config.vocabSize)} rows, texts of up to ${config.maxTokens} tokens`)
  }
  yield row('parameters', `${count(seen.parameters)}${seen.hasPooler ? ', pooler included' : ''}`)
  if (heads.length > 0) yield row('left aside', `${count(seen.headParameters)} in ${heads.join(', ')}`)
  for (const [index, { format, file, bytes, tensors, dtypes }] of weights.entries()) {
    const stored = Object.keys(dtypes).join(', ')
    const what = tensors === undefined ? 'not readable' : `${tensors} tensors, ${stored}`
    yield row(index === 0 ? 'weights' : '', `${format}: ${file}, ${megabytes(bytes)}, ${what}`)
  }
  yield row(
    'tokenizer',
    tokenizer ? `${tokenizer.kind}, ${count(tokenizer.tokens)} tokens, from ${tokenizer.file}` : 'none',
  )
  if (seen.poolingFiles.length > 0)
    yield row('pooling', `${seen.pooling ?? 'not known'}, from ${seen.poolingFiles.join(', ')}`)
  const needed = Object.entries(memory).map(([dtype, bytes]) => `${dtype} ${megabytes(bytes)}`)
  if (needed.length > 0) yield row('memory', `${needed.join(', ')} for the weights`)
  yield row('instructions', seen.instructionSet)
  for (const [index, notice] of seen.notices.entries()) yield row(index === 0 ? 'notices' : '', notice)
}

function row(name: string, value: string): string {
  return `  ${name.padEnd(13)}${printable(value)}\n`
}

function count(number: number): string {
  return number.toLocaleString('en-US')
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
