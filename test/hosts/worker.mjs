// A worker thread of checks.mjs: encodes, sends the last layer's bytes, then ends by itself or encodes until it is terminated.
import { parentPort, workerData } from 'node:worker_threads'
import { Encoder } from 'bert-layers'

const encoder = await Encoder.fromPretrained()
const view = (await encoder.encode('a worker thread')).get(-1, 0)
parentPort.postMessage(new Uint8Array(view.slice().buffer))
const long = Array.from({ length: 16 }, () => ({ ids: new Uint32Array(256).fill(2000) }))
while (workerData === 'terminate') await encoder.encode(long)
await encoder.dispose()
