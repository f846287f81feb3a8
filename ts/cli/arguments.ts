import { parseArgs } from 'node:util'
import type { Device, Dtype } from '../../index.d.ts'
import { BertLayersError } from '../errors.ts'
import { checkDevice, checkDtype, checkThreads } from '../options.ts'
import { nearest } from '../validate.ts'

export const USAGE_HINT = "Try 'bert-layers --help'."

/** The command line is wrong; exit status 2. */
export class UsageError extends Error {}

export type Format = 'text' | 'json' | 'npy' | 'safetensors'
const FORMATS: readonly Format[] = ['text', 'json', 'npy', 'safetensors']

export interface EncodeCommand {
  name: 'encode'
  texts: string[]
  model: string | undefined
  layers: 'all' | number[]
  dtype: Dtype
  device: Device
  threads: number | undefined
  format: Format
  out: string | undefined
}

export type Command = EncodeCommand | { name: 'help' } | { name: 'version' }

const OPTIONS = {
  model: { type: 'string' },
  layers: { type: 'string' },
  dtype: { type: 'string' },
  device: { type: 'string' },
  threads: { type: 'string' },
  format: { type: 'string' },
  out: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

/** What the command line asks for. */
export function readCommand(args: string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const [name, ...texts] = positionals
  if (name === undefined) throw new UsageError('a command is missing, such as: bert-layers encode "a text"')
  if (name !== 'encode') throw new UsageError(`there is no command '${name}'; there is: encode`)
  return {
    name,
    texts,
    model: values.model,
    layers: readLayers(values.layers ?? 'all'),
    dtype: usage(() => checkDtype(values.dtype ?? 'float32')),
    device: usage(() => checkDevice(values.device ?? 'auto')),
    threads: usage(() => checkThreads(readThreads(values.threads))),
    format: readFormat(values.format ?? 'text'),
    out: values.out,
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({ args: joinNegativeLayers(args), options: OPTIONS, allowPositionals: true })
  } catch (error) {
    const unknown = /^Unknown option '(-[^']*)'/.exec((error as Error).message)?.[1]
    if (unknown === undefined) throw new UsageError((error as Error).message)
    const near = nearest(unknown, Object.keys(OPTIONS))
    const hint = near === undefined ? '' : ` Did you mean --${near}?`
    throw new UsageError(`there is no option ${unknown}.${hint} A text that begins with a dash goes behind --`)
  }
}

/** `--layers -1` is what people write; parseArgs wants `--layers=-1`. */
function joinNegativeLayers(args: string[]): string[] {
  const joined: string[] = []
  const end = args.includes('--') ? args.indexOf('--') : args.length
  for (let i = 0; i < args.length; i++) {
    const next = args[i + 1]
    if (i + 1 < end && args[i] === '--layers' && next !== undefined && /^-\d/.test(next)) {
      joined.push(`--layers=${next}`)
      i++
    } else joined.push(args[i]!)
  }
  return joined
}

function readLayers(value: string): 'all' | number[] {
  return value === 'all' ? 'all' : value.split(',').map(readLayer)
}

function readLayer(value: string): number {
  if (/^\s*-?\d+\s*$/.test(value)) return Number(value)
  throw new UsageError(`--layers must be all or whole numbers such as 0,6,-1; it has '${value}'`)
}

function readThreads(value: string | undefined): number | string | undefined {
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : value
}

function readFormat(value: string): Format {
  const format = FORMATS.find(known => known === value)
  if (format !== undefined) return format
  throw new UsageError(`--format must be one of ${FORMATS.join(', ')}, not '${value}'`)
}

/** On the command line a bad option is wrong usage. */
function usage<T>(check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof BertLayersError)) throw error
    throw new UsageError(error.message.replace(/^option /, '--'))
  }
}
