import { parseArgs } from 'node:util'
import type { Device, Dtype, LastLayer, Pool } from '../../index.d.ts'
import { checkPool } from '../embed-options.ts'
import { BertLayersError } from '../errors.ts'
import { checkDevice, checkDtype, checkLastLayer, checkThreads } from '../options.ts'
import { isTilde, nearest } from '../validate.ts'

export const USAGE_HINT = "Try 'bert-layers --help'."

/** The command line is wrong; exit status 2. */
export class UsageError extends Error {}

export type Format = 'text' | 'json' | 'npy' | 'safetensors'
const FORMATS: readonly Format[] = ['text', 'json', 'npy', 'safetensors']

export type EmbedFormat = 'jsonl' | 'npy' | 'safetensors'
const EMBED_FORMATS: readonly EmbedFormat[] = ['jsonl', 'npy', 'safetensors']
/** Those of tokenize and inspect. */
const OVERVIEW_FORMATS = ['text', 'json'] as const
const OVERFLOWS = ['error', 'truncate', 'window'] as const
const COMBINES = ['mean', 'sum', 'max', 'concat'] as const

/** Where to look for a model. */
interface Where {
  revision: string | undefined
  cacheDir: string | undefined
  localFilesOnly: boolean
}

/** What the commands about texts have in common. */
export interface TextsCommand extends Where {
  texts: string[]
  model: string | undefined
  dtype: Dtype
  lastLayer: LastLayer
  device: Device
  threads: number | undefined
  overflow: (typeof OVERFLOWS)[number]
  out: string | undefined
}

export interface EncodeCommand extends TextsCommand {
  name: 'encode'
  layers: 'all' | number[]
  format: Format
}

export interface EmbedCommand extends TextsCommand {
  name: 'embed'
  layers: 'all' | number[]
  combine: (typeof COMBINES)[number]
  /** Undefined: as the model's files say. */
  pool: Pool | undefined
  normalize: boolean | undefined
  prompt: string | undefined
  maxTokens: number | undefined
  truncateDim: number | undefined
  format: EmbedFormat
}

export interface TokenizeCommand extends Where {
  name: 'tokenize'
  texts: string[]
  model: string | undefined
  format: 'text' | 'json'
  out: string | undefined
}

export interface InspectCommand extends Where {
  name: 'inspect'
  model: string | undefined
  format: 'text' | 'json'
}

export interface ConvertCommand extends Where {
  name: 'convert'
  source: string
  target: string
  dtype: Exclude<Dtype, 'int8'> | undefined
  force: boolean
}

export interface DoctorCommand {
  name: 'doctor'
  format: 'text' | 'json'
}

export type Command =
  | EncodeCommand
  | EmbedCommand
  | TokenizeCommand
  | InspectCommand
  | ConvertCommand
  | DoctorCommand
  | { name: 'help' }
  | { name: 'version' }

const OPTIONS = {
  model: { type: 'string' },
  revision: { type: 'string' },
  'cache-dir': { type: 'string' },
  'local-files-only': { type: 'boolean' },
  layers: { type: 'string' },
  combine: { type: 'string' },
  pool: { type: 'string' },
  normalize: { type: 'boolean' },
  'no-normalize': { type: 'boolean' },
  prompt: { type: 'string' },
  'max-tokens': { type: 'string' },
  'truncate-dim': { type: 'string' },
  overflow: { type: 'string' },
  dtype: { type: 'string' },
  'last-layer': { type: 'string' },
  device: { type: 'string' },
  threads: { type: 'string' },
  format: { type: 'string' },
  out: { type: 'string' },
  force: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const
const WHERE = ['revision', 'cache-dir', 'local-files-only'] as const
/** The options of the commands that take few. */
const OF_COMMAND = {
  tokenize: ['model', ...WHERE, 'format', 'out'],
  inspect: ['format', ...WHERE],
  convert: ['dtype', 'force', ...WHERE],
  doctor: ['format'],
} as const
/** The options that only embed has. */
const OF_EMBED = ['combine', 'pool', 'normalize', 'no-normalize', 'prompt', 'max-tokens', 'truncate-dim'] as const
/** Options of the API that no command has. */
const OF_API = [
  'precision',
  'prompt-name',
  'include-special-tokens',
  'add-special-tokens',
  'words',
  'pooler',
  'attentions',
]
const OPTION_NAMES = Object.keys(OPTIONS)

const COMMANDS = 'encode, embed, tokenize, inspect, convert, doctor'

/** What the command line asks for. */
export function readCommand(args: string[]): Command {
  const { values, positionals } = parse(args)
  if (values.help) return { name: 'help' }
  if (values.version) return { name: 'version' }
  const [name, ...texts] = positionals
  if (name === 'help') {
    const [about] = texts
    if (about === undefined || COMMANDS.split(', ').includes(about)) return { name } // one page about all of them
    throw new UsageError(`there is no command '${about}'; there are: ${COMMANDS}`)
  }
  if (name === undefined) throw new UsageError('a command is missing, such as: bert-layers encode "a text"')
  if (name === 'embed') return readEmbed(texts, values)
  if (name === 'inspect') return readInspect(texts, values)
  if (name === 'convert') return readConvert(texts, values)
  if (name === 'doctor') return readDoctor(texts, values)
  if (name === 'tokenize') return readTokenize(texts, values)
  if (name !== 'encode') throw new UsageError(`there is no command '${name}'; there are: ${COMMANDS}`)
  const other = OF_EMBED.find(option => values[option] !== undefined)
  if (other !== undefined) throw new UsageError(`--${other} is of embed`)
  const format = oneOf(FORMATS, values.format ?? 'text', 'format')
  return { name, ...readTextsCommand(texts, values), layers: readLayers(values.layers ?? 'all'), format }
}

type Values = ReturnType<typeof parseKnown>['values']

function readEmbed(texts: string[], values: Values): EmbedCommand {
  const { pool } = values
  return {
    name: 'embed',
    ...readTextsCommand(texts, values),
    layers: readLayers(values.layers ?? '-1'),
    combine: oneOf(COMBINES, values.combine ?? 'mean', 'combine'),
    pool: pool === undefined ? undefined : usage(() => checkPool(pool)),
    normalize: readNormalize(values),
    prompt: values.prompt,
    maxTokens: readNumber('max-tokens', values['max-tokens']),
    truncateDim: readNumber('truncate-dim', values['truncate-dim']),
    format: oneOf(EMBED_FORMATS, values.format ?? 'jsonl', 'format'),
  }
}

function readNormalize(values: Values): boolean | undefined {
  const [yes, no] = [values.normalize, values['no-normalize']]
  if (yes && no) throw new UsageError('--normalize and --no-normalize contradict each other: give one')
  return yes ? true : no ? false : undefined
}

function readTextsCommand(texts: string[], values: Values): TextsCommand {
  if (values.force) throw new UsageError('--force is of convert')
  return {
    texts,
    model: values.model,
    ...readWhere(values),
    dtype: usage(() => checkDtype(values.dtype ?? 'float32')),
    lastLayer: usage(() => checkLastLayer(values['last-layer'] ?? 'after-norm')),
    device: usage(() => checkDevice(values.device ?? 'auto')),
    threads: usage(() => checkThreads(readThreads(values.threads))),
    overflow: oneOf(OVERFLOWS, values.overflow ?? 'error', 'overflow'),
    out: readOut(values.out),
  }
}

function readInspect(models: string[], values: Values): InspectCommand {
  checkOptions('inspect', values)
  const [model, ...more] = models
  if (more.length > 0) throw new UsageError(`inspect takes one model, not ${models.length}`)
  return {
    name: 'inspect',
    model,
    ...readWhere(values),
    format: oneOf(OVERVIEW_FORMATS, values.format ?? 'text', 'format'),
  }
}

function readConvert(folders: string[], values: Values): ConvertCommand {
  checkOptions('convert', values)
  const [source, target, ...more] = folders
  if (source === undefined || target === undefined || more.length > 0) {
    throw new UsageError('convert takes a model and the folder to write, such as: bert-layers convert ./old ./new')
  }
  const dtype = values.dtype === undefined ? undefined : usage(() => checkDtype(values.dtype))
  if (dtype === 'int8')
    throw new UsageError('--dtype must be one of float32, float16, bfloat16: int8 is made on loading')
  return { name: 'convert', source, target, ...readWhere(values), dtype, force: values.force ?? false }
}

function readDoctor(texts: string[], values: Values): DoctorCommand {
  checkOptions('doctor', values)
  if (texts.length > 0) throw new UsageError('doctor takes no texts')
  return { name: 'doctor', format: oneOf(OVERVIEW_FORMATS, values.format ?? 'text', 'format') }
}

/** Nothing that is given may be without effect. */
function checkOptions(name: keyof typeof OF_COMMAND, values: Values): void {
  const known: readonly string[] = OF_COMMAND[name]
  const other = Object.keys(values).find(option => !known.includes(option))
  if (other === undefined) return
  throw new UsageError(`${name} has no option --${other}; it has: ${known.map(option => `--${option}`).join(', ')}`)
}

function readWhere(values: Values): Where {
  return {
    revision: readFilled('revision', values.revision),
    cacheDir: noTilde('cache-dir', readFilled('cache-dir', values['cache-dir'])),
    localFilesOnly: values['local-files-only'] ?? false,
  }
}

function readTokenize(texts: string[], values: Values): TokenizeCommand {
  checkOptions('tokenize', values)
  return {
    name: 'tokenize',
    texts,
    model: values.model,
    ...readWhere(values),
    format: oneOf(OVERVIEW_FORMATS, values.format ?? 'text', 'format'),
    out: readOut(values.out),
  }
}

function parse(args: string[]) {
  let parsed: ReturnType<typeof parseKnown>
  try {
    parsed = parseKnown(asParsed(args))
  } catch (error) {
    const unknown = /^Unknown option '(-[^']*)'/.exec((error as Error).message)?.[1]
    if (unknown === undefined) throw new UsageError((error as Error).message)
    throw new UsageError(
      `there is no option ${unknown}.${hintFor(unknown)} A text that begins with a dash goes behind --`,
    )
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

function hintFor(unknown: string): string {
  const spelled = unknown.replace(/^-+/, '').replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
  if (OF_API.includes(spelled)) return ' It is an option of the library; the commands have a part of them.'
  const meant = meantBy(unknown)
  return meant.length === 0 ? '' : ` Did you mean ${meant.join(' or ')}?`
}

/** What an option that does not exist could mean, such as --model for -m and --format json for --json. */
function meantBy(unknown: string): string[] {
  const name = unknown.replace(/^-+/, '').toLowerCase()
  if ([...FORMATS, ...EMBED_FORMATS].some(format => format === name)) return [`--format ${name}`]
  const near = nearest(name, OPTION_NAMES)
  const meant = near ? [near] : OPTION_NAMES.filter(option => option.startsWith(name) || name.startsWith(option))
  return meant.map(option => `--${option}`)
}

/** What people write, as parseArgs takes it: `--layers -1` is `--layers=-1`, -V means --version as -v does, `doctor --json` its format. */
function asParsed(args: string[]): string[] {
  const joined: string[] = []
  const end = args.includes('--') ? args.indexOf('--') : args.length
  for (let i = 0; i < args.length; i++) {
    const next = args[i + 1]
    if (i + 1 < end && args[i] === '--layers' && next !== undefined && /^-\d/.test(next)) {
      joined.push(`--layers=${next}`)
      i++
    } else if (i < end && args[0] === 'doctor' && args[i] === '--json') joined.push('--format=json')
    else joined.push(i < end && args[i] === '-V' ? '--version' : args[i]!)
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

function readNumber(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value) && Number(value) > 0) return Number(value)
  throw new UsageError(`--${name} must be a whole number from 1 on, not '${value}'`)
}

function readThreads(value: string | undefined): number | string | undefined {
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : value
}

function oneOf<T extends string>(known: readonly T[], value: string, option: string): T {
  const found = known.find(each => each === value)
  if (found !== undefined) return found
  throw new UsageError(`--${option} must be one of ${known.join(', ')}, not '${value}'`)
}

function readFilled(name: string, value: string | undefined): string | undefined {
  if (value === '') throw new UsageError(`--${name} must not be empty`)
  return value
}

function readOut(value: string | undefined): string | undefined {
  if (value !== undefined && /^$|[/\\]$/.test(value)) throw new UsageError(`--out must name a file, not '${value}'`)
  return noTilde('out', value)
}

/** Shells expand ~ at the beginning of a word only: not in --out=~/x, and not in quotes. */
function noTilde(name: string, value: string | undefined): string | undefined {
  if (value === undefined || !isTilde(value)) return value
  throw new UsageError(
    `--${name} ${value}: the shell did not expand ~; write --${name} ~/… as two words, or the whole path`,
  )
}

/** An option's name on the command line. */
function kebab(name: string): string {
  return name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
}

/** A message of the library in the command line's words. */
export function inCommandWords(message: string): string {
  return message
    .replaceAll(
      /\b(?:option )?(maxTokens|truncateDim|cacheDir|localFilesOnly|lastLayer)\b/g,
      (_, name: string) => `--${kebab(name)}`,
    )
    .replaceAll(/\ban overflow such as '(\w+)' or '(\w+)'/g, '--overflow $1 or $2')
}

/** On the command line a bad option is wrong usage. */
function usage<T>(check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof BertLayersError)) throw error
    const message = error.message.replace(/^option (\w+)/, (_, name: string) => `--${kebab(name)}`)
    throw new UsageError(message)
  }
}
