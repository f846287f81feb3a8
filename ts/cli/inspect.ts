import type { Download, Inspection } from '../../index.d.ts'
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
  const areCounted = weights[0]?.tensors !== undefined
  if (areCounted) yield row('parameters', `${count(seen.parameters)}${seen.hasPooler ? ', pooler included' : ''}`)
  if (heads.length > 0) yield row('left aside', `${count(seen.headParameters)} in ${heads.join(', ')}`)
  for (const [index, { format, file, bytes, tensors, dtypes }] of weights.entries()) {
    const stored = Object.keys(dtypes).join(', ')
    const what = tensors === undefined ? '' : `, ${tensors} tensors, ${stored}`
    yield row(index === 0 ? 'weights' : '', `${format}: ${file}, ${megabytes(bytes)}${what}`)
  }
  yield row('tokenizer', tokenizer === undefined ? 'none' : describeTokenizer(tokenizer))
  if (seen.poolingFiles.length > 0)
    yield row('pooling', `${seen.pooling ?? 'not known'}, from ${seen.poolingFiles.join(', ')}`)
  const needed = Object.entries(memory).map(([dtype, bytes]) => `${dtype} ${megabytes(bytes)}`)
  if (needed.length > 0) yield row('memory', `${needed.join(', ')} for the weights`)
  yield row('instructions', seen.instructionSet)
  if (seen.download !== undefined) yield* downloadLines(seen.download)
  for (const [index, notice] of seen.notices.entries()) yield row(index === 0 ? 'notices' : '', notice)
}

function describeTokenizer({ file, kind, tokens }: NonNullable<Inspection['tokenizer']>): string {
  return tokens === undefined ? file : `${kind}, ${count(tokens)} tokens, from ${file}`
}

/** What loading the model would download, file by file, the largest first. */
function* downloadLines({ commit, files, bytes, missingBytes }: Download): Iterable<string> {
  const whole = `${files.length} files, ${megabytes(bytes)}`
  const rest = missingBytes === 0 ? 'all of it in the cache' : `${megabytes(missingBytes)} to be downloaded`
  yield row('download', `${whole}, ${rest}; commit ${commit}`)
  if (missingBytes === 0) return
  for (const { file, bytes, cachedBytes } of files.toSorted((a, b) => b.bytes - a.bytes)) {
    const cached = cachedBytes === bytes ? ', in the cache' : `, ${megabytes(cachedBytes)} of it in the cache`
    yield row('', `${file}, ${megabytes(bytes)}${cachedBytes === 0 ? '' : cached}`)
  }
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
