import { buffer } from 'node:stream/consumers'
import { BertLayersError } from '../errors.ts'
import { UsageError } from './arguments.ts'

/** The texts of a command: its arguments or, without any, the lines of standard input. `explain` rethrows an error about a text. */
export async function readTexts(given: string[]): Promise<{ texts: string[]; explain: (error: unknown) => never }> {
  const fromLines = given.length === 0
  const texts = fromLines ? await readLines() : given
  if (texts.length === 0) throw new UsageError('there is no text: give texts as arguments or on standard input')
  const explain = (error: unknown): never => {
    throw fromLines ? withLine(error) : error
  }
  return { texts, explain }
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
  const message = error.message.replace(
    /^(?:text|input) (\d+)\b/,
    (_, index) => `line ${+index + 1} of the input (text ${index})`,
  )
  return new BertLayersError(error.code, message, { cause: error })
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new BertLayersError('ERR_INVALID_INPUT', 'standard input is not UTF-8: convert it, for example with iconv')
  }
}
