import { types } from 'node:util'
import { invalidInput } from './errors.ts'

type Fields = Record<string, unknown>

const MAX_UINT32 = 0xffff_ffff

/** What other libraries call options of ours; where the spelling is near, it needs no entry. */
const ELSEWHERE: Record<string, string> = {
  pooling: 'pool',
  truncation: 'overflow',
  max_length: 'maxTokens',
  maxLength: 'maxTokens',
  quantize: 'precision',
  output_hidden_states: 'layers',
  output_attentions: 'attentions',
}

/** An object whose keys are all known; an unknown one is an error that names what is meant most likely. */
export function checkKeys(value: object, known: readonly string[], what: string): Fields {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    const meant = ELSEWHERE[key]
    const near = meant !== undefined && known.includes(meant) ? meant : nearest(key, known)
    const hint = near === undefined ? '' : ` Did you mean '${near}'?`
    throw invalidInput(`${what} '${key}' does not exist.${hint} There are: ${known.join(', ')}`)
  }
  return value as Fields
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
}

/** An array or a typed array; of other realms too, such as those of Jest. */
export function isArrayLike(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || types.isTypedArray(value)
}

/** The text, if it is a string that UTF-8 can carry: a lone surrogate would silently become another character. */
export function checkText(value: unknown, what: string): string {
  if (typeof value !== 'string') throw invalidInput(`${what} must be a string, not ${describe(value)}`)
  if (!value.isWellFormed()) {
    throw invalidInput(
      `${what} has a lone surrogate (half of a UTF-16 pair) at position ${loneSurrogate(value)}: ` +
        'the text was cut in the middle of a character; repair it, or use text.toWellFormed()',
    )
  }
  return value
}

/** A copy, so that the caller may change its array while Rust reads. */
export function copyIntegers(value: unknown, what: string): Uint32Array<ArrayBuffer> {
  if (!isArrayLike(value)) throw invalidInput(`${what} must be an array of whole numbers, not ${describe(value)}`)
  const copy = new Uint32Array(value.length)
  for (let i = 0; i < copy.length; i++) {
    const item = value[i]
    if (typeof item !== 'number' || !Number.isInteger(item) || item < 0 || item > MAX_UINT32) {
      throw invalidInput(
        `${what} must hold whole numbers from 0 to ${MAX_UINT32}: at position ${i} it has ${describeNumber(item)}`,
      )
    }
    copy[i] = item
  }
  return copy
}

/** A whole number of at least `least`. */
export function checkCount(value: unknown, what: string, least: number, most = MAX_UINT32): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number
  throw invalidInput(`${what} must be a whole number from ${least} to ${most}, not ${describeNumber(value)}`)
}

/** A path that a shell would have expanded, and nothing here does. */
export function isTilde(path: string): boolean {
  return /^~(?=[/\\]|$)/.test(path)
}

/** A value as an error message shows it. */
export function describe(value: unknown): string {
  if (typeof value === 'bigint') return `the bigint ${value}n`
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object' && value !== null) {
    const name = value.constructor?.name ?? 'null-prototype object'
    return `${/^[AEIO]/i.test(name) ? 'an' : 'a'} ${name}`
  }
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  return Object.is(value, -0) ? '-0' : String(value)
}

/** The same where a number is expected: one of the wrong type says how it becomes one. */
export function describeNumber(value: unknown): string {
  return typeof value === 'bigint' ? `${describe(value)}: convert it with Number()` : describe(value)
}

function loneSurrogate(text: string): number {
  return text.search(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/)
}

/** The known name that is meant most likely; undefined if none is near. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const bare = (word: string) => word.replaceAll(/[-_]/g, '').toLowerCase()
  const wanted = bare(name)
  const byDistance = known
    .map(candidate => ({ candidate, distance: editDistance(wanted, bare(candidate)) }))
    .sort((a, b) => a.distance - b.distance)
  const best = byDistance[0]
  if (best !== undefined && best.distance <= Math.max(1, Math.floor(wanted.length / 3))) return best.candidate
  // Transformers' names contain ours: input_ids, token_type_ids.
  return known.filter(candidate => wanted.endsWith(bare(candidate))).sort((a, b) => b.length - a.length)[0]
}

/** Optimal string alignment: letters left out, put in, replaced, or two neighbours exchanged count one each. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(replaced, rows[i - 1]![j]! + 1, row[j - 1]! + 1))
      const exchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (exchanged) row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
