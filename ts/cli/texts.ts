import type { TokenizedText } from '../../index.d.ts'
import type { Encoder } from '../encoder.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import { type TextsCommand, UsageError } from './arguments.ts'
import type { Texts } from './lines.ts'
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
 * Reads a command's texts, loads its model, and lets `compute` do the rest. An error of it about a text says which line it is.
 */
export async function withTexts<T>(
  command: TextsCommand & { format: string },
  read: (given: string[]) => Promise<Texts<T>>,
  compute: (encoder: Encoder, texts: T, model: ModelSummary) => Promise<void>,
): Promise<void> {
  const { model, revision, cacheDir, localFilesOnly, dtype, lastLayer, device, threads, format, out } = command
  if ((format === 'npy' || format === 'safetensors') && out === undefined && process.stdout.isTTY) {
    throw new UsageError(`${format} is not for a terminal: give --out FILE, or redirect the output`)
  }
  if (out !== undefined) await checkOut(out)
  const { texts, explain } = await read(command.texts)
  const encoder = await load(model, { revision, cacheDir, localFilesOnly, dtype, lastLayer, device, threads }).catch(
    explain,
  )
  try {
    const { modelType, numLayers, hiddenSize } = encoder.config
    const name = model ?? DEFAULT_MODEL
    const summary = { name, modelType, numLayers, hiddenSize, device: encoder.device, dtype: encoder.dtype }
    await compute(encoder, texts, summary).catch(explain)
  } finally {
    await encoder.dispose()
  }
}

/** What an output of numbers does not show: texts that were cut, or that the model hardly knows. */
export class Warnings {
  readonly #found = [cutHint, unknownHint].map(hintOf => ({ hintOf, first: '', count: 0 }))

  see(text: TokenizedText, index: number): void {
    for (const found of this.#found) {
      const hint = found.hintOf(text).trim()
      if (hint !== '' && found.count++ === 0) found.first = `text ${index}: ${hint}`
    }
  }

  /** Says it on standard error. */
  say(): void {
    for (const { first, count } of this.#found) {
      const others = count > 1 ? `; the like goes for ${count - 1} more` : ''
      if (count > 0) process.stderr.write(`${first}${others}\n`)
    }
  }
}

export function warnAbout(texts: readonly TokenizedText[]): void {
  const warnings = new Warnings()
  for (const [index, text] of texts.entries()) warnings.see(text, index)
  warnings.say()
}

function cutHint({ truncated }: TokenizedText): string {
  return truncated > 0 ? `${truncated} tokens too many were cut off (--overflow)` : ''
}
