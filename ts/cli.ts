#!/usr/bin/env node
import { inCommandWords, readCommand, USAGE_HINT, UsageError } from './cli/arguments.ts'
import { convertCommand } from './cli/convert.ts'
import { doctorCommand } from './cli/doctor.ts'
import { embedCommand } from './cli/embed.ts'
import { encodeCommand } from './cli/encode.ts'
import { HELP } from './cli/help.ts'
import { inspectCommand } from './cli/inspect.ts'
import { writeAll } from './cli/output.ts'
import { tokenizeCommand } from './cli/tokenize.ts'
import { BertLayersError } from './errors.ts'
import { VERSION } from './version.ts'

/** Exit codes: 0, 1 for a failure, 2 for wrong usage. Results go to standard output, everything else to standard error. */
async function main(): Promise<number> {
  try {
    const command = readCommand(process.argv.slice(2))
    if (command.name === 'doctor') return (await doctorCommand(command)) ? 0 : 1
    if (command.name === 'encode') await encodeCommand(command)
    else if (command.name === 'inspect') await inspectCommand(command)
    else if (command.name === 'convert') await convertCommand(command)
    else if (command.name === 'embed') await embedCommand(command)
    else if (command.name === 'tokenize') await tokenizeCommand(command)
    else await writeAll([command.name === 'help' ? HELP : `${VERSION}\n`], undefined)
    return 0
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`bert-layers: ${error.message}\n${USAGE_HINT}\n`)
      return 2
    }
    process.stderr.write(`${describeFailure(error)}\n`)
    return 1
  }
}

function describeFailure(error: unknown): string {
  if (error instanceof BertLayersError) return `${error.code}: ${inCommandWords(error.message)}`
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof Error && code !== undefined) return `${code}: ${error.message.replace(`${code}: `, '')}`
  return `ERR_INTERNAL: ${error instanceof Error ? error.stack : String(error)}`
}

// A reader that has seen enough, such as head, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  process.stderr.write(`${describeFailure(error)}\n`)
  process.exit(1)
})
process.stderr.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

process.exitCode = await main()
