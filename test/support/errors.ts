import { BertLayersError } from 'bert-layers'
import { expect } from 'vitest'
import type { ErrorCode } from '../../index.d.ts'

/** What a call rejected with or threw; a call that succeeds fails the test. */
export async function failureOf(call: () => unknown): Promise<unknown> {
  let value: unknown
  try {
    value = await call()
  } catch (error) {
    return error
  }
  throw new Error(`expected a failure, got ${String(value)}`)
}

/** The call fails with this code, and the message says what each pattern asks for. */
export async function expectFailure(
  call: () => unknown,
  code: ErrorCode,
  ...patterns: (RegExp | string)[]
): Promise<void> {
  const error = await failureOf(call)
  expect(error).toBeInstanceOf(BertLayersError)
  const { code: actual, message } = error as BertLayersError
  expect(actual, message).toBe(code)
  for (const pattern of patterns) expect(message).toMatch(pattern)
}
