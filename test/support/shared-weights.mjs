// Prints the growth of resident memory, in MB, by loading the default model once, twice, by the name of the device that 'auto' took,
// and in a worker thread.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Encoder } from 'bert-layers'
import { resident } from './resident.mjs'

const load = async device => {
  const encoder = await Encoder.fromPretrained(undefined, { device })
  await encoder.encode('warm')
  return encoder
}

const start = await resident()
const first = await load('auto')
const once_ = await resident()
const second = await load('auto')
const twice = await resident()
const named = await load(first.device)
const thrice = await resident()
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
const withWorker = await resident()
worker.postMessage('end')
await once(worker, 'exit')
for (const encoder of [first, second, named]) await encoder.dispose()
const grown = { first: once_ - start, second: twice - once_, named: thrice - twice, worker: withWorker - thrice }
console.log(JSON.stringify(grown))
