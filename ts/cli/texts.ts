import { buffer } from 'node:stream/consumers'
import { Encoder } from '../encoder.ts'
import { BertLayersError } from '../errors.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import { type TextsCommand, UsageError } from './arguments.ts'
import { checkOut } from './output.ts'

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
  const { model, dtype, device, threads, format, out } = command
  if ((format === 'npy' || format === 'safetensors') && out === undefined && process.stdout.isTTY) {
    throw new UsageError(`${format} is not for a terminal: give --out FILE, or redirect the output`)
  }
  if (out !== undefined) await checkOut(out)
  const fromLines = command.texts.length === 0
  const texts = fromLines ? await readLines() : command.texts
  if (texts.length === 0) throw new UsageError('there is no text: give texts as arguments or on standard input')
  const encoder = await Encoder.fromPretrained(model, { dtype, device, threads })
  try {
    const { modelType, numLayers, hiddenSize } = encoder.config
    const name = model ?? DEFAULT_MODEL
    const summary = { name, modelType, numLayers, hiddenSize, device: encoder.device, dtype: encoder.dtype }
    const write = await compute(encoder, texts, summary).catch(error => {
      throw fromLines ? withLine(error) : error
    })
    await write()
  } finally {
    await encoder.dispose()
  }
}

/** The lines of standard input; an empty line is an empty text, so that texts and lines stay in step. */
async function readLines(): Promise<string[]> {
  if (process.stdin.isTTY) process.stderr.write('Reading texts from the terminal, one a line; Ctrl-D ends.\n')
  const text = decodeUtf8(await buffer(process.stdin))
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** An error about text N says that it is line N + 1 of the input. */
function withLine(error: unknown): unknown {
  if (!(error instanceof BertLayersError)) return error
  const message = error.message.replace(/^text (\d+)\b/, (text, index) => `line ${+index + 1} of the input (${text})`)
  return new BertLayersError(error.code, message, { cause: error })
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new BertLayersError('ERR_INVALID_INPUT', 'standard input is not UTF-8: convert it, for example with iconv')
  }
}
