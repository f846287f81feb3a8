import { BertLayersError } from '../errors.ts'
import type { Source } from '../stream.ts'
import { UsageError } from './arguments.ts'

const NEWLINE = 0x0a

/** The texts of a command: its arguments or, without any, the lines of standard input. */
export interface Texts<T> {
  texts: T
  /** Rethrows an error about a text: of a line it says which. */
  explain: (error: unknown) => never
}

/** All of them. */
export async function readTexts(given: string[]): Promise<Texts<string[]>> {
  const { texts, explain } = await streamTexts(given)
  const all: string[] = []
  for await (const text of texts) all.push(text)
  return { texts: all, explain }
}

/** As they come: of standard input only the first is waited for. */
export async function streamTexts(given: string[]): Promise<Texts<Source<string>>> {
  if (given.length > 0) {
    const explain = (error: unknown): never => {
      throw error
    }
    return { texts: given, explain }
  }
  const lines = standardInput()
  const first = await lines.next()
  if (first.done) throw new UsageError('there is no text: give texts as arguments or on standard input')
  const explain = (error: unknown): never => {
    process.stdin.destroy() // who writes to it may go on for long, and Node would wait
    throw withLine(error)
  }
  return { texts: withFirst(first.value, lines), explain }
}

/** The lines of standard input; an empty line is an empty text, so that texts and lines stay in step. */
async function* standardInput(): AsyncGenerator<string> {
  if (process.stdin.isTTY) process.stderr.write('Reading texts from the terminal, one a line; Ctrl-D ends.\n')
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let count = 0
  const decode = (bytes?: Uint8Array): string => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined })
    } catch {
      const what = `line ${count + 1} of standard input is not UTF-8: convert it, for example with iconv`
      throw new BertLayersError('ERR_INVALID_INPUT', what)
    }
  }
  let line = ''
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    for (let from = 0, end = 0; from < chunk.length; from = end) {
      end = chunk.indexOf(NEWLINE, from) + 1 || chunk.length
      line += decode(chunk.subarray(from, end))
      if (chunk[end - 1] !== NEWLINE) continue
      yield line.slice(0, line.endsWith('\r\n') ? -2 : -1)
      line = ''
      count++
    }
  }
  line += decode()
  if (line !== '') yield line
}

async function* withFirst<T>(first: T, others: AsyncIterable<T>): AsyncGenerator<T> {
  yield first
  yield* others
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
