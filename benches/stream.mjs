#!/usr/bin/env node
/**
 * Streams and calls at a time, with the embedded model:
 *
 *     node benches/stream.mjs [COUNT]        (after `npm run build`)
 *
 * - stream() over 100,000 short texts: resident memory grows by less than 1 MB per 10,000 texts once warm, order is kept
 * - its tokens a second are at least 0.95 × those of the best hand-made batching of the same texts
 * - 64 calls of one text at a time reach at least 0.8 × the throughput of one call with the 64 texts
 *
 * The ratios are medians over rounds in which all take turns. Prints one JSON object; exits 1 if a limit is broken.
 */
import { performance } from 'node:perf_hooks'
import { Encoder } from 'bert-layers'

const MB = 1e6
const count = Number(process.argv[2] ?? 100_000)
const bert = await Encoder.fromPretrained()
const round = (value, digits = 2) => Math.round(value * 10 ** digits) / 10 ** digits
const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

const WORDS = 'the river bank plays an unbelievable tune while old people watch from their windows'.split(' ')
let state = 1
/** A text of so many words, some of them two tokens. */
function text(words) {
  return Array.from({ length: words }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return WORDS[(state >>> 16) % WORDS.length]
  }).join(' ')
}

/** 2 to 6 words. */
function* shortTexts(many) {
  for (let i = 0; i < many; i++) yield text(2 + (i % 5))
}

/** Slope of a line through points, by least squares. */
function slope(points) {
  const mean = pick => points.reduce((sum, point) => sum + pick(point), 0) / points.length
  const [x, y] = [mean(point => point[0]), mean(point => point[1])]
  const over = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0)
  return over / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
}

async function memory() {
  const points = []
  let inOrder = true
  let expected = 0
  const from = performance.now()
  for await (const { index, vector } of bert.stream(shortTexts(count), { embed: true })) {
    inOrder &&= index === expected++ && vector.length === 384
    if (index % (count / 1000) === 0) points.push([index / 10_000, process.memoryUsage.rss() / MB])
  }
  const seconds = (performance.now() - from) / 1000
  const warm = points.slice(points.length / 5)
  const growth = slope(warm)
  const sizes = warm.map(([, size]) => size)
  return {
    texts: expected,
    seconds: round(seconds, 0),
    MBper10000: round(growth),
    leastMB: round(Math.min(...sizes), 0),
    mostMB: round(Math.max(...sizes), 0),
    ok: inOrder && expected === count && growth < 1,
  }
}

/** Batches of `size` texts, in order or sorted by length, `ahead` of them under way at a time. */
async function byHand(texts, size, ahead) {
  const underWay = []
  for (let i = 0; i < texts.length; i += size) {
    if (underWay.length === ahead) await underWay.shift()
    underWay.push(bert.embed(texts.slice(i, i + size)))
  }
  await Promise.all(underWay)
}

/** Rounds in which each contestant runs once, in turns that change; the seconds of each by name. */
async function race(rounds, contestants) {
  const names = Object.keys(contestants)
  const seconds = Object.fromEntries(names.map(name => [name, []]))
  for (let turn = 0; turn < rounds; turn++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + turn) % names.length]
      const from = performance.now()
      await contestants[name]()
      seconds[name].push((performance.now() - from) / 1000)
    }
  }
  return seconds
}

async function throughput() {
  const texts = Array.from({ length: 2400 }, (_, i) => text(i % 20 === 0 ? 60 : 3 + (i % 25)))
  const contestants = {
    stream: async () => {
      for await (const _ of bert.stream(texts, { embed: true }));
    },
  }
  for (const size of [32, 128, 600, 2400]) {
    contestants[`batches of ${size}`] = () => byHand(texts, size, 1)
    contestants[`batches of ${size}, two at a time`] = () => byHand(texts, size, 2)
  }
  contestants['sorted, batches of 64'] = () =>
    byHand(
      texts.toSorted((a, b) => a.length - b.length),
      64,
      1,
    )
  const seconds = await race(5, contestants)
  const { stream, ...others } = Object.fromEntries(Object.entries(seconds).map(([name, all]) => [name, median(all)]))
  const [best] = Object.entries(others).toSorted((a, b) => a[1] - b[1])
  const ratio = median(seconds[best[0]].map((theirs, turn) => theirs / seconds.stream[turn]))
  const tokens = (await bert.countTokens(texts)).reduce((a, b) => a + b)
  return { tokensPerSecond: round(tokens / stream, 0), best: best[0], ratio: round(ratio), ok: ratio >= 0.95 }
}

async function calls(words) {
  const texts = Array.from({ length: 64 }, () => text(words))
  const seconds = await race(11, {
    one: () => bert.embed(texts),
    many: () => Promise.all(texts.map(each => bert.embed(each))),
  })
  const ratio = median(seconds.one.map((one, turn) => one / seconds.many[turn]))
  return { words, ratio: round(ratio), ok: ratio >= 0.8 }
}

// First: what other measurements leave behind makes V8 collect at other times.
const held = await memory()
const atATime = []
for (const words of [8, 16, 60]) atATime.push(await calls(words))
const streamed = await throughput()
await bert.dispose()
const ok = held.ok && streamed.ok && atATime.every(one => one.ok)
console.log(JSON.stringify({ ok, memory: held, stream: streamed, calls: atATime }, null, 1))
process.exitCode = ok ? 0 : 1
