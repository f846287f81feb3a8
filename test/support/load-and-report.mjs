// Loads FOLDER in DTYPE, and prints by how many bytes that made this process larger. Needs --expose-gc.
import { Encoder } from 'bert-layers'
import { resident } from './resident.mjs'

const [folder, small, dtype] = process.argv.slice(2)
// What any load brings with it is there then: threads, code, the first arenas.
const first = await Encoder.fromPretrained(small, { dtype, threads: 1 })
await first.encode({ ids: [5, 6] })
const before = await resident()
const encoder = await Encoder.fromPretrained(folder, { dtype, threads: 1 })
console.log((await resident()) - before)
await encoder.dispose()
await first.dispose()
