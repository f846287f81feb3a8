import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Encoder } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sameBits } from './support/compare.ts'
import { expectFailure, failureOf } from './support/errors.ts'
import { goldenFolder } from './support/paths.ts'
import { count } from './support/verify.ts'

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

  test('of the same encoder', async () => {
    expect(await firstOf(encodeMuch, () => first.encode('a river bank'))).toBe('small')
    expect(await firstOf(encodeMuch, () => first.embed('a river bank'))).toBe('small')
  })

  test('that only wants tokens, of the same encoder', async () => {
    expect(await firstOf(encodeMuch, () => first.countTokens(['a river', 'bank']))).toBe('small')
    expect(await firstOf(encodeMuch, () => first.tokenize('a river bank'))).toBe('small')
  })
})

/** Calls of 512 tokens each; what finishes is noted in `order`. */
function tenLongCalls(encoder: Encoder, order: string[]): Promise<unknown> {
  const calls = much.slice(0, 10).map(input => encoder.encode(input, { layers: -1 }).then(() => order.push('long')))
  return Promise.all(calls)
}

test('a short call waits for two of the long ones that wait already, at most', async () => {
  const encoder = await Encoder.fromPretrained(undefined, { threads: 2 })
  const order: string[] = []
  const long = tenLongCalls(encoder, order)
  await encoder.encode({ ids: [101, ...new Array(8).fill(2000), 102] }, { layers: -1 })
  order.push('short')
  await long
  expect(order).toHaveLength(11)
  expect(order.indexOf('short')).toBeLessThanOrEqual(2)
  await encoder.dispose()
})

describe('calls at a time', () => {
  const inputs = fc.array(fc.tuple(fc.integer({ min: 1, max: 80 }), fc.nat(210)), { minLength: 1, maxLength: 6 })
  const layers = fc.uniqueArray(fc.integer({ min: 0, max: 4 }), { minLength: 1 })
  const call = fc.tuple(inputs, layers, fc.boolean(), fc.integer({ min: 0, max: 9 }))

  test('give the numbers that each gives alone, whichever are aborted meanwhile', async () => {
    const tiny = await Encoder.fromPretrained(goldenFolder('bert'))
    const property = fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 30 }), async calls => {
      const compute = async ([shapes, layers, embeds]: (typeof calls)[number], signal?: AbortSignal) => {
        const texts = shapes.map(([length, first]) => ({
          ids: Array.from({ length }, (_, i) => (first + 11 * i) % 211),
        }))
        const { data } = embeds
          ? await tiny.embed(texts, { layers, signal })
          : await tiny.encode(texts, { layers, signal })
        return data
      }
      const controllers = calls.map(() => new AbortController())
      const together = calls.map((one, i) => compute(one, controllers[i]!.signal))
      const settled = Promise.allSettled(together)
      await nextTurn()
      for (const [i, [, , , chance]] of calls.entries()) if (chance === 0) controllers[i]!.abort('stop')
      for (const [i, result] of (await settled).entries()) {
        if (result.status === 'rejected') expect([result.reason, calls[i]![3]]).toEqual(['stop', 0])
        else expect(sameBits(result.value, await compute(calls[i]!))).toBe(true)
      }
    })
    await fc.assert(property, { numRuns: count(20, 200) })
    await tiny.dispose()
  })

  test('more than maxQueue are refused, and room is made by those that end or are aborted', async () => {
    const encoder = await Encoder.fromPretrained(undefined, { maxQueue: 3 })
    const controller = new AbortController()
    const aborted = failureOf(() => encoder.encode(much, { layers: -1, signal: controller.signal }))
    const others = [encoder.encode('a', { layers: 0 }), encoder.embed('b')]
    await expectFailure(() => encoder.encode('c'), 'ERR_BUSY', /3 calls.*maxQueue/)
    await expectFailure(() => encoder.embed('c'), 'ERR_BUSY')
    for await (const { vector } of encoder.stream(['a stream bounds itself'], { embed: true })) {
      expect(vector).toHaveLength(384)
    }
    controller.abort('stop')
    expect(await aborted).toBe('stop')
    await encoder.encode('c', { layers: 0 })
    await Promise.all(others)
    await Promise.all(['a', 'b', 'c'].map(text => encoder.encode(text, { layers: 0 })))
    await encoder.dispose()
  })

  test('dispose waits for all of them', async () => {
    const encoder = await Encoder.fromPretrained(goldenFolder('bert'))
    const calls = Array.from({ length: 50 }, (_, i) => encoder.encode({ ids: new Array(1 + i).fill(5) }))
    await encoder.dispose()
    for (const [i, states] of (await Promise.all(calls)).entries()) expect(states.get(0, 0)).toHaveLength(48 * (1 + i))
  })
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
