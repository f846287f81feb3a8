// Starts COUNT worker threads, four at a time, terminates each mid-encode, and prints what each had computed.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

const count = Number(process.argv[2])
let started = 0
const results = []

async function next() {
  while (started < count) {
    const number = started++
    const worker = new Worker(new URL('encode-in-worker.mjs', import.meta.url))
    const [value] = await once(worker, 'message')
    await sleep(number % 5)
    results.push({ value, exit: await worker.terminate() })
  }
}

await Promise.all([next(), next(), next(), next()])
console.log(JSON.stringify(results))
