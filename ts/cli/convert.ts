import { BertLayersError } from '../errors.ts'
import { convert } from '../files.ts'
import type { ConvertCommand } from './arguments.ts'
import { megabytes } from './inspect.ts'
import { SIGNALS, writeAll } from './output.ts'
import { progressBar } from './progress.ts'
import { printable } from './text.ts'

/** What the library calls force is --force here. */
function asOption(message: string): string {
  return message.replace(', or force to replace ', ', or --force to replace ')
}

/** Converts a model; what is interrupted leaves nothing behind. */
export async function convertCommand({ name: _, source, target, ...options }: ConvertCommand): Promise<void> {
  const bar = progressBar(process.stderr)
  const controller = new AbortController()
  const interrupted = (signal: NodeJS.Signals) => controller.abort(signal)
  for (const signal of SIGNALS) process.once(signal, interrupted)
  const done = await convert(source, target, { ...options, progressCallback: bar.update, signal: controller.signal })
    .catch(error => {
      if (controller.signal.aborted) return undefined
      if (error instanceof BertLayersError) throw new BertLayersError(error.code, asOption(error.message))
      throw error
    })
    .finally(() => {
      bar.end()
      for (const signal of SIGNALS) process.off(signal, interrupted)
    })
  if (done === undefined) {
    process.kill(process.pid, controller.signal.reason as NodeJS.Signals) // it ends the process as it would have
    return
  }
  const { format, folder, files, tensors, bytes } = done
  const lines = [
    `${folder}: ${tensors} tensors, ${megabytes(bytes)}, from ${format} ${done.source}`,
    ...files.map(file => `  ${file}`),
  ]
  await writeAll(
    lines.map(line => `${printable(line)}\n`),
    undefined,
  )
}
