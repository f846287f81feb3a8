import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { NativeBinding } from './binding.ts'
import { BertLayersError } from './errors.ts'

let binding: NativeBinding | undefined

/** The native module. Loaded when it is first needed, so that importing this package never throws. */
export function native(): NativeBinding {
  binding ??= load()
  return binding
}

function load(): NativeBinding {
  const requireNative = createRequire(import.meta.url)
  const failures: string[] = []
  for (const candidate of candidates()) {
    try {
      return requireNative(candidate) as NativeBinding
    } catch (error) {
      failures.push(`  ${candidate}: ${firstLine(error)}`)
    }
  }
  throw new BertLayersError(
    'ERR_INTERNAL',
    `no native module of bert-layers could be loaded for ${platformName()}. Tried:\n${failures.join('\n')}\n${advice()}`,
  )
}

function candidates(): string[] {
  const chosen = process.env.BERT_LAYERS_NATIVE
  if (chosen) return [resolve(chosen)]
  const platform = platformName()
  return [fileURLToPath(new URL(`../native/bert-layers.${platform}.node`, import.meta.url)), `@bert-layers/${platform}`]
}

function advice(): string {
  if (process.env.BERT_LAYERS_NATIVE) {
    return 'BERT_LAYERS_NATIVE names this file: correct it, or unset it to use the installed one.'
  }
  return (
    `Run 'npm install @bert-layers/${platformName()}' (npm leaves it out with --omit=optional, or when node_modules was ` +
    "installed on another platform), or build it from a clone with 'npm run build'."
  )
}

/** As napi-rs names platforms, such as linux-x64-gnu. */
function platformName(): string {
  const name = `${process.platform}-${process.arch}`
  if (process.platform === 'win32') return `${name}-msvc`
  if (process.platform === 'linux') return `${name}-${usesGlibc() ? 'gnu' : 'musl'}`
  return name
}

function usesGlibc(): boolean {
  const report = process.report as typeof process.report & { excludeNetwork?: boolean }
  // Otherwise the report resolves the names of all open sockets, which can take seconds.
  const before = report.excludeNetwork
  report.excludeNetwork = true
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  if (before === undefined) delete report.excludeNetwork
  else report.excludeNetwork = before
  return header.glibcVersionRuntime !== undefined
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.split('\n', 1)[0] ?? ''
}
