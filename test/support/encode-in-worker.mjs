// A worker thread that loads, says so, and encodes until it is terminated.
import { parentPort } from 'node:worker_threads'
import { Encoder } from 'bert-layers'

const encoder = await Encoder.fromPretrained()
const inputs = Array.from({ length: 16 }, () => ({ ids: new Uint32Array(256).fill(2000) }))
const states = await encoder.encode(inputs[0])
parentPort.postMessage(states.data[states.data.length - 1])
for (;;) await encoder.encode(inputs)
