import type { TokenizedText } from '../../index.d.ts'
import type { Encoder } from '../encoder.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import { type TextsCommand, UsageError } from './arguments.ts'
import { readTexts } from './lines.ts'
import { load } from './load.ts'
import { checkOut } from './output.ts'
import { unknownHint } from './text.ts'

/** The model behind the numbers, as outputs name it. */
export interface ModelSummary {
  name: string
  modelType: string
  numLayers: number
  hiddenSize: number
  device: string
  dtype: string
}

/**
 * Reads a command's texts, loads its model, and computes; what `compute` gives then writes. An error of `compute` about a text
 * says which line it is.
 */
export async function withTexts(
  command: TextsCommand & { format: string },
  compute: (encoder: Encoder, texts: string[], model: ModelSummary) => Promise<() => Promise<void>>,
): Promise<void> {
  const { model, revision, cacheDir, localFilesOnly, dtype, lastLayer, device, threads, format, out } = command
  if ((format === 'npy' || format === 'safetensors') && out === undefined && process.stdout.isTTY) {
    throw new UsageError(`${format} is not for a terminal: give --out FILE, or redirect the output`)
  }
  if (out !== undefined) await checkOut(out)
  const { texts, explain } = await readTexts(command.texts)
  const encoder = await load(model, { revision, cacheDir, localFilesOnly, dtype, lastLayer, device, threads })
  try {
    const { modelType, numLayers, hiddenSize } = encoder.config
    const name = model ?? DEFAULT_MODEL
    const summary = { name, modelType, numLayers, hiddenSize, device: encoder.device, dtype: encoder.dtype }
    const write = await compute(encoder, texts, summary).catch(explain)
    await write()
  } finally {
    await encoder.dispose()
  }
}

/** Says on standard error what an output of numbers does not show: texts that were cut, or that the model hardly knows. */
export function warnAbout(texts: readonly TokenizedText[]): void {
  for (const warningOf of [cutHint, unknownHint]) {
    const found = texts.flatMap((text, index) => {
      const warning = warningOf(text).trim()
      return warning === '' ? [] : [`text ${index}: ${warning}`]
    })
    if (found.length === 0) continue
    const others = found.length > 1 ? `; the like goes for ${found.length - 1} more` : ''
    process.stderr.write(`${found[0]}${others}\n`)
  }
}

function cutHint({ truncated }: TokenizedText): string {
  return truncated > 0 ? `${truncated} tokens too many were cut off (--overflow)` : ''
}
