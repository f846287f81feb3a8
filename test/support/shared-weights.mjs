// Prints the growth of resident memory, in MB, by loading the default model once, twice, and in a worker thread.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Encoder } from 'bert-layers'

const resident = async () => {
  for (let turn = 0; turn < 3; turn++) {
    global.gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage.rss() / 1e6
}

const load = async () => {
  const encoder = await Encoder.fromPretrained()
  await encoder.encode('warm')
  return encoder
}

const start = await resident()
const first = await load()
const once_ = await resident()
const second = await load()
const twice = await resident()
const worker = new Worker(
  `import { Encoder } from 'bert-layers'
   import { parentPort } from 'node:worker_threads'
   const encoder = await Encoder.fromPretrained()
   await encoder.encode('warm')
   parentPort.once('message', () => encoder.dispose())
   parentPort.postMessage('loaded')`,
  { eval: true, execArgv: [] },
)
await once(worker, 'message')
const thrice = await resident()
worker.postMessage('end')
await once(worker, 'exit')
await first.dispose()
await second.dispose()
console.log(JSON.stringify({ first: once_ - start, second: twice - once_, worker: thrice - twice }))
