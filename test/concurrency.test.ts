import { setTimeout as sleep } from 'node:timers/promises'
import { Encoder } from 'bert-layers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from './support/errors.ts'

let first: Encoder
let second: Encoder

beforeAll(async () => {
  first = await Encoder.fromPretrained()
  second = await Encoder.fromPretrained()
})
afterAll(async () => {
  await first.dispose()
  await second.dispose()
})

/** Seconds of work. */
const much = Array.from({ length: 100 }, () => ({ ids: new Uint32Array(512).fill(2000) }))

/** What finishes first; the big call is stopped then. The big one has begun when the small one is called. */
async function firstOf(
  big: (signal: AbortSignal) => Promise<unknown>,
  small: () => Promise<unknown>,
): Promise<'big' | 'small'> {
  const controller = new AbortController()
  const working = big(controller.signal).then(() => 'big' as const)
  await sleep(50)
  const winner = await Promise.race([working, small().then(() => 'small' as const)])
  controller.abort()
  await working.catch(() => {})
  return winner
}

describe('a small call does not wait for the whole of a big one', () => {
  const encodeMuch = (signal: AbortSignal) => first.encode(much, { layers: -1, signal })

  test('on another encoder', async () => {
    expect(await firstOf(encodeMuch, () => second.encode('a river bank'))).toBe('small')
  })

  test('that only wants tokens, of the same encoder', async () => {
    expect(await firstOf(encodeMuch, () => first.countTokens(['a river', 'bank']))).toBe('small')
    expect(await firstOf(encodeMuch, () => first.tokenize('a river bank'))).toBe('small')
  })
})

test('the encodes of one encoder end in the order of their calls', async () => {
  const order: number[] = []
  const sizes = [20, 1, 10, 1, 2]
  await Promise.all(
    sizes.map((size, call) => first.encode(much.slice(0, size), { layers: 0 }).then(() => order.push(call))),
  )
  expect(order).toEqual([0, 1, 2, 3, 4])
})

test('an aborted call that tokenizes much lets the next one go', async () => {
  const long = Array.from({ length: 400 }, (_, text) => `${text} the river bank, unbelievably `.repeat(400))
  // Another encoder has a quarter of the same to do: who waits for the whole comes after it.
  const controller = new AbortController()
  const stopped = failureOf(() => first.tokenize([...long, ...long, ...long, ...long], { signal: controller.signal }))
  let ended = false
  const quarter = second.countTokens(long).then(() => {
    ended = true
  })
  await sleep(50)
  controller.abort('stop')
  expect(await stopped).toBe('stop')
  await first.countTokens('next')
  expect(ended).toBe(false)
  await quarter
})
