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

export interface TokenizeCommand {
  name: 'tokenize'
  texts: string[]
  model: string | undefined
  format: 'text' | 'json'
  out: string | undefined
}

export type Command = EncodeCommand | TokenizeCommand | { name: 'help' } | { name: 'version' }

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
const OPTION_NAMES = Object.keys(OPTIONS)

/** What the command line asks for. */
export function readCommand(args: string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const [name, ...texts] = positionals
  if (name === 'help') return { name }
  if (name === undefined) throw new UsageError('a command is missing, such as: bert-layers encode "a text"')
  if (name === 'tokenize') return readTokenize(values, texts)
  if (name !== 'encode') throw new UsageError(`there is no command '${name}'; there are: encode, tokenize`)
  return {
    name,
    texts,
    model: values.model,
    layers: readLayers(values.layers ?? 'all'),
    dtype: usage(() => checkDtype(values.dtype ?? 'float32')),
    device: usage(() => checkDevice(values.device ?? 'auto')),
    threads: usage(() => checkThreads(readThreads(values.threads))),
    format: readFormat(values.format ?? 'text'),
    out: readOut(values.out),
  }
}

/** Of the options, those that have to do with tokens. */
function readTokenize(values: ReturnType<typeof parseKnown>['values'], texts: string[]): TokenizeCommand {
  const { model, format = 'text', out, ...others } = values
  const [other] = Object.keys(others)
  if (other !== undefined) throw new UsageError(`tokenize has no --${other}; it has --model, --format and --out`)
  if (format !== 'text' && format !== 'json')
    throw new UsageError(`tokenize --format must be text or json, not '${format}'`)
  return { name: 'tokenize', texts, model, format, out: readOut(out) }
}

function parse(args: string[]) {
  let parsed: ReturnType<typeof parseKnown>
  try {
    parsed = parseKnown(asParsed(args))
  } catch (error) {
    const unknown = /^Unknown option '(-[^']*)'/.exec((error as Error).message)?.[1]
    if (unknown === undefined) throw new UsageError((error as Error).message)
    const meant = meantBy(unknown)
    const hint = meant.length === 0 ? '' : ` Did you mean ${meant.join(' or ')}?`
    throw new UsageError(`there is no option ${unknown}.${hint} A text that begins with a dash goes behind --`)
  }
  checkGivenOnce(parsed.tokens)
  return parsed
}

function parseKnown(args: string[]) {
  return parseArgs({ args, options: OPTIONS, allowPositionals: true, tokens: true })
}

/** parseArgs would take the last of several silently. */
function checkGivenOnce(tokens: ReturnType<typeof parseKnown>['tokens']): void {
  const given = new Set<string>()
  for (const token of tokens) {
    if (token.kind !== 'option' || token.value === undefined) continue
    if (given.has(token.name)) throw new UsageError(`--${token.name} is given more than once`)
    given.add(token.name)
  }
}

/** What an option that does not exist could mean, such as --model for -m and --format json for --json. */
function meantBy(unknown: string): string[] {
  const name = unknown.replace(/^-+/, '').toLowerCase()
  if (FORMATS.some(format => format === name)) return [`--format ${name}`]
  const near = nearest(name, OPTION_NAMES)
  const meant = near ? [near] : OPTION_NAMES.filter(option => option.startsWith(name) || name.startsWith(option))
  return meant.map(option => `--${option}`)
}

/** What people write, as parseArgs takes it: `--layers -1` is `--layers=-1`, and -V means --version as -v does. */
function asParsed(args: string[]): string[] {
  const joined: string[] = []
  const end = args.includes('--') ? args.indexOf('--') : args.length
  for (let i = 0; i < args.length; i++) {
    const next = args[i + 1]
    if (i + 1 < end && args[i] === '--layers' && next !== undefined && /^-\d/.test(next)) {
      joined.push(`--layers=${next}`)
      i++
    } else joined.push(i < end && args[i] === '-V' ? '--version' : args[i]!)
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

function readOut(value: string | undefined): string | undefined {
  if (value !== undefined && /^$|[/\\]$/.test(value)) throw new UsageError(`--out must name a file, not '${value}'`)
  return value
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
