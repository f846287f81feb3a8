#!/usr/bin/env node
/**
 * Exact top-10 over 1,000,000 × 384 random vectors against a plain loop in JavaScript:
 *
 *     node benches/search.mjs [VECTORS] [DIM]        (after `npm run build`; 7 GB of memory)
 *
 * - the same neighbors for each metric, scores within 1e-5 of the loop's (relative, where they are larger than 1)
 * - one query: at least 3 × the loop's speed
 *
 * Prints one JSON object: milliseconds a query, alone and 32 at once, for each precision, beside the loop's. Exits 1 if a
 * limit is broken. What is compared runs turn by turn; of each the best time counts.
 */
import { cpus } from 'node:os'
import { performance } from 'node:perf_hooks'
import { VectorIndex } from 'bert-layers'

const [count = 1_000_000, dim = 384] = process.argv.slice(2).map(Number)
const K = 10
const TOGETHER = 32
const ROUNDS = 5

/** Numbers around 0, roughly normal; the same each time. */
function noise(length, seed) {
  const out = new Float32Array(length)
  let state = seed
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32 - 0.5
  }
  for (let i = 0; i < length; i++) out[i] = next() + next() + next()
  return out
}

/** What somebody writes who needs no library. */
const SIMILARITY = {
  cosine(vectors, from, query, queryLength) {
    let [dot, square] = [0, 0]
    for (let i = 0; i < query.length; i++) {
      const x = vectors[from + i]
      dot += x * query[i]
      square += x * x
    }
    return dot / (Math.sqrt(square) * queryLength)
  },
  dot(vectors, from, query) {
    let dot = 0
    for (let i = 0; i < query.length; i++) dot += vectors[from + i] * query[i]
    return dot
  },
  euclidean(vectors, from, query) {
    let sum = 0
    for (let i = 0; i < query.length; i++) {
      const difference = vectors[from + i] - query[i]
      sum += difference * difference
    }
    return Math.sqrt(sum)
  },
}

function plain(metric, vectors, query) {
  const similarity = SIMILARITY[metric]
  const queryLength = Math.sqrt(query.reduce((sum, x) => sum + x * x, 0))
  const sign = metric === 'euclidean' ? -1 : 1
  const best = []
  let floor = -Infinity
  for (let index = 0; index < count; index++) {
    const score = similarity(vectors, index * dim, query, queryLength)
    if (sign * score <= floor) continue
    best.push({ index, score })
    best.sort((a, b) => sign * (b.score - a.score) || a.index - b.index)
    if (best.length > K) best.pop()
    if (best.length === K) floor = sign * best[K - 1].score
  }
  return best
}

async function milliseconds(call) {
  const from = performance.now()
  const value = await call()
  return [performance.now() - from, value]
}

const vectors = noise(count * dim, 1)
const queries = noise(TOGETHER * dim, 2)
const first = queries.subarray(0, dim)
const round = value => Math.round(value * 100) / 100
const results = []
for (const metric of ['cosine', 'dot', 'euclidean']) {
  const indexes = {}
  const build = {}
  for (const precision of ['float32', 'int8', 'binary']) {
    const [ms, index] = await milliseconds(() => VectorIndex.from(vectors, { dim, metric, precision }))
    indexes[precision] = index
    build[precision] = round(ms)
  }
  const best = { loop: Infinity, alone: {}, together: {} }
  let expected
  let found
  const recall = {}
  for (let i = 0; i < ROUNDS; i++) {
    const [loop, value] = await milliseconds(() => plain(metric, vectors, first))
    best.loop = Math.min(best.loop, loop)
    expected = value
    for (const [precision, index] of Object.entries(indexes)) {
      const [alone, one] = await milliseconds(() => index.search(first, K))
      const [together] = await milliseconds(() => index.search(queries, K))
      best.alone[precision] = Math.min(best.alone[precision] ?? Infinity, alone)
      best.together[precision] = Math.min(best.together[precision] ?? Infinity, together / TOGETHER)
      if (precision === 'float32') found = one.get(0)
    }
  }
  const truth = await indexes.float32.search(queries, K)
  for (const [precision, index] of Object.entries(indexes)) {
    const { indices } = await index.search(queries, K)
    const hits = indices.filter((index, at) => {
      const row = at - (at % K)
      return truth.indices.subarray(row, row + K).includes(index)
    })
    recall[precision] = round(hits.length / indices.length)
    await index.dispose()
  }
  const difference = Math.max(
    ...expected.map(({ score }, at) => Math.abs(score - found[at].score) / Math.max(1, Math.abs(score))),
  )
  const same = expected.every(({ index }, at) => index === found[at].index) && difference <= 1e-5
  const speedup = best.loop / best.alone.float32
  results.push({
    metric,
    ok: same && speedup >= 3,
    same,
    difference,
    loopMs: round(best.loop),
    speedup: round(speedup),
    aloneMs: Object.fromEntries(Object.entries(best.alone).map(([name, ms]) => [name, round(ms)])),
    togetherMs: Object.fromEntries(Object.entries(best.together).map(([name, ms]) => [name, round(ms)])),
    recallOnNoise: recall,
    buildMs: build,
  })
}
const ok = results.every(result => result.ok)
const machine = { cpu: cpus()[0].model, cores: cpus().length, node: process.version }
console.log(JSON.stringify({ ok, count, dim, k: K, ...machine, results }, null, 1))
process.exitCode = ok ? 0 : 1
