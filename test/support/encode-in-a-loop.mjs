// Encodes COUNT times, awaiting each, and prints by how many MB resident memory grew, and before that in the first 20 calls, and how
// many MB were given out.
//
//     encode-in-a-loop.mjs COUNT ['dispose']     the latter: results are disposed of
import assert from 'node:assert/strict'
import { Encoder } from 'bert-layers'
import { resident } from './resident.mjs'

const count = Number(process.argv[2])
const dispose = process.argv[3] === 'dispose'
const encoder = await Encoder.fromPretrained()
const inputs = Array.from({ length: 16 }, (_, text) => 'word '.repeat(10 + text))

let given = 0
const encode = async () => {
  const states = await encoder.encode(inputs)
  given += states.data.byteLength / 1e6
  assert(states.texts[0].tokens.length > 0)
  if (dispose) states.dispose()
}

await encode()
const first = process.memoryUsage.rss() / 1e6
for (let call = 1; call < 20; call++) await encode()
const warm = process.memoryUsage.rss() / 1e6 - first
const before = await resident()
given = 0
let peak = 0
for (let call = 0; call < count; call++) {
  await encode()
  peak = Math.max(peak, process.memoryUsage.rss() / 1e6)
}
console.log(JSON.stringify({ grown: (await resident()) - before, peak: peak - before, warm, given }))
