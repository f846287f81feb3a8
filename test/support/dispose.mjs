// Prints resident memory, in MB, before the default model is loaded, while it is, and after it was disposed of.
import { Encoder } from 'bert-layers'
import { resident } from './resident.mjs'

// What stays is there before: the native module and its threads.
const warm = await Encoder.fromPretrained(process.argv[2])
await warm.encode({ ids: [1] })
await warm.dispose()

const before = await resident()
const encoder = await Encoder.fromPretrained()
await encoder.encode('warm')
const loaded = await resident()
await encoder.dispose()
console.log(JSON.stringify({ before, loaded, disposed: await resident() }))
