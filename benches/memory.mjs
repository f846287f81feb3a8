#!/usr/bin/env node
/**
 * 1,000 encodes in a loop that awaits, with the embedded model: memory must not grow.
 *
 *     node benches/memory.mjs [COUNT]        (after `npm run build`)
 *
 * Compares the resident size of the second tenth of the loop with that of the last: the first tenth warms up. Prints JSON;
 * exits 1 if the median grew by more than 20 MB, far less than the results that passed through.
 */
import { Encoder } from 'bert-layers'

const MB = 1e6
const count = Number(process.argv[2] ?? 1000)
const texts = ['你好，世界！', 'The quick brown fox jumps over the lazy dog. '.repeat(5)]

const bert = await Encoder.fromPretrained()
const sizes = []
let bytes = 0
for (let i = 0; i < count; i++) {
  const states = await bert.encode(texts)
  bytes += states.data.byteLength
  sizes.push(process.memoryUsage.rss())
}
await bert.dispose()

const tenth = Math.floor(count / 10)
const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
const early = median(sizes.slice(tenth, 2 * tenth))
const late = median(sizes.slice(-tenth))
const mb = value => Math.round((value / MB) * 10) / 10
const ok = late - early < 20 * MB
console.log(
  JSON.stringify({
    ok,
    count,
    passedThroughMB: mb(bytes),
    earlyMB: mb(early),
    lateMB: mb(late),
    peakMB: mb(Math.max(...sizes)),
  }),
)
process.exitCode = ok ? 0 : 1
