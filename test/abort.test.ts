import { getEventListeners } from 'node:events'
import { Encoder } from 'bert-layers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sameBits } from './support/compare.ts'
import { failureOf } from './support/errors.ts'

let bert: Encoder
/** Seconds of work. */
const much = Array.from({ length: 100 }, () => ({ ids: new Uint32Array(512).fill(2000) }))

beforeAll(async () => {
  bert = await Encoder.fromPretrained()
})
afterAll(() => bert.dispose())

function abortSoon(reason?: unknown): AbortSignal {
  const controller = new AbortController()
  setTimeout(() => controller.abort(reason), 50)
  return controller.signal
}

describe('an aborted call rejects with the reason', () => {
  test.each([new Error('enough'), 'a word', null])('while encoding: %s', async reason => {
    expect(await failureOf(() => bert.encode(much, { layers: -1, signal: abortSoon(reason) }))).toBe(reason)
  })

  test('the default reason is an AbortError', async () => {
    const error = await failureOf(() => bert.encode(much, { layers: -1, signal: abortSoon() }))
    expect((error as Error).name).toBe('AbortError')
  })

  test('AbortSignal.timeout works', async () => {
    const error = await failureOf(() => bert.encode(much, { layers: -1, signal: AbortSignal.timeout(20) }))
    expect((error as Error).name).toBe('TimeoutError')
  })

  test('before any work, when it is aborted already: not even the inputs are looked at', async () => {
    const signal = AbortSignal.abort('before')
    const never = {
      get text(): string {
        throw new Error('looked at')
      },
    }
    expect(await failureOf(() => bert.encode(never, { signal }))).toBe('before')
    expect(await failureOf(() => bert.tokenize(never, { signal }))).toBe('before')
    expect(await failureOf(() => bert.countTokens(never, { signal }))).toBe('before')
    expect(await failureOf(() => Encoder.fromPretrained('./no/such/folder', { signal }))).toBe('before')
  })

  test('while loading and while tokenizing', async () => {
    const controller = new AbortController()
    const loading = Encoder.fromPretrained(undefined, { signal: controller.signal })
    const tokenizing = bert.tokenize('word '.repeat(100), { signal: controller.signal })
    controller.abort('now')
    expect(await failureOf(() => loading)).toBe('now')
    expect(await failureOf(() => tokenizing)).toBe('now')
  })

  test('and the work stops: what comes after it does not wait for the rest', async () => {
    const started = performance.now()
    await bert.encode(much.slice(0, 25), { layers: -1 })
    const quarter = performance.now() - started
    const controller = new AbortController()
    const rejections = Array.from({ length: 12 }, () =>
      failureOf(() => bert.encode(much, { layers: -1, signal: controller.signal })),
    )
    await new Promise(resolve => setTimeout(resolve, 20))
    controller.abort('stop')
    expect(await Promise.all(rejections)).toEqual(new Array(12).fill('stop'))
    const waited = performance.now()
    await bert.encode('after')
    // The twelve calls would be 48 quarters of work: no noise of the machine makes up for that.
    expect(performance.now() - waited).toBeLessThan(24 * quarter)
  })
})

describe('the signal stays its owner’s', () => {
  test('onabort is not touched, and no listener is left', async () => {
    const controller = new AbortController()
    let fired = 0
    const onabort = () => {
      fired++
    }
    controller.signal.onabort = onabort
    const before = getEventListeners(controller.signal, 'abort').length
    for (let call = 0; call < 20; call++) {
      await bert.encode('a', { layers: 0, signal: controller.signal })
      await failureOf(() => bert.encode({ ids: [30522] }, { signal: controller.signal }))
    }
    expect(getEventListeners(controller.signal, 'abort').length).toBe(before)
    expect(controller.signal.onabort).toBe(onabort)
    controller.abort()
    expect(fired).toBe(1)
  })

  test('one signal stops many calls, and the encoder works on', async () => {
    const expected = await bert.encode('a river bank')
    const signal = abortSoon('all')
    const errors = await Promise.all([1, 2, 3].map(() => failureOf(() => bert.encode(much, { layers: -1, signal }))))
    expect(errors).toEqual(['all', 'all', 'all'])
    expect(sameBits((await bert.encode('a river bank')).data, expected.data)).toBe(true)
  })
})
