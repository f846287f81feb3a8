import type { BertLayersError as Contract, ErrorCode } from '../index.d.ts'
import type { Outcome } from './binding.ts'

const KNOWN_CODES: Record<ErrorCode, true> = {
  ERR_MODEL_NOT_FOUND: true,
  ERR_MODEL_INVALID: true,
  ERR_MODEL_UNSUPPORTED: true,
  ERR_INVALID_INPUT: true,
  ERR_TOO_MANY_TOKENS: true,
  ERR_DEVICE_UNAVAILABLE: true,
  ERR_OUT_OF_MEMORY: true,
  ERR_BUSY: true,
  ERR_DOWNLOAD: true,
  ERR_DISPOSED: true,
  ERR_INTERNAL: true,
}

/** Shared by all copies of this package in a process, so that `instanceof` holds between its ESM and its CommonJS form. */
const BRAND = Symbol.for('bert-layers.BertLayersError')

export class BertLayersError extends Error implements Contract {
  override readonly name = 'BertLayersError'
  readonly code: ErrorCode
  declare readonly index?: number

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; index?: number }) {
    super(message, options)
    this.code = code
    if (options?.index !== undefined) this.index = options.index
    Object.defineProperty(this, 'name', { enumerable: false })
    Object.defineProperty(this, BRAND, { value: true })
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: a subclass, which `this` then is, keeps the usual meaning of instanceof
    if (this !== BertLayersError) return super[Symbol.hasInstance](value)
    return typeof value === 'object' && value !== null && BRAND in value
  }
}

export function invalidInput(message: string): BertLayersError {
  return new BertLayersError('ERR_INVALID_INPUT', message)
}

/** Which text of a call an error is about: messages about one begin with its number. */
export function textOf(error: unknown): number | undefined {
  const [, text] = (error instanceof BertLayersError && /^text (\d+)\b/.exec(error.message)) || []
  return text === undefined ? undefined : Number(text)
}

/** An error about a text as one about an input of a stream. */
export function ofInput(error: unknown, index: number): unknown {
  if (textOf(error) === undefined) return error
  const { code, message } = error as BertLayersError
  return new BertLayersError(code, message.replace(/^text \d+/, `input ${index}`), { cause: error, index })
}

/** The value of what Rust answered, or its error thrown. */
export function unwrap<T>({ value, error }: Outcome<T>): T {
  if (error === undefined) return value as T
  if (Object.hasOwn(KNOWN_CODES, error.code)) throw new BertLayersError(error.code as ErrorCode, error.message)
  throw new BertLayersError('ERR_INTERNAL', `${error.code}: ${error.message}`)
}

/** Makes a native call, at once. Rust answers with outcomes; an exception can only be a defect of the binding. */
export async function settle<T>(call: () => Promise<Outcome<T>>): Promise<T> {
  let outcome: Outcome<T>
  try {
    outcome = await call()
  } catch (cause) {
    throw new BertLayersError('ERR_INTERNAL', `the native module failed: ${String(cause)}`, { cause })
  }
  return unwrap(outcome)
}
