// Encodes COUNT times, awaiting each, and prints by how many MB resident memory grew and how many MB were given out.
import { Encoder } from 'bert-layers'
import { resident } from './resident.mjs'

const count = Number(process.argv[2])
const encoder = await Encoder.fromPretrained()
const inputs = Array.from({ length: 16 }, (_, text) => 'word '.repeat(10 + text))

let given = 0
const encode = async () => {
  const states = await encoder.encode(inputs)
  given += states.data.byteLength / 1e6
  return states.texts[0].tokens.length
}

for (let call = 0; call < 20; call++) await encode()
const before = await resident()
given = 0
let peak = 0
for (let call = 0; call < count; call++) {
  await encode()
  peak = Math.max(peak, process.memoryUsage.rss() / 1e6)
}
console.log(JSON.stringify({ grown: (await resident()) - before, peak: peak - before, given }))
