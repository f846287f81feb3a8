/** This package as an engine of the race: ours.mjs DTYPE THREADS */
import { join } from 'node:path'
import { Encoder } from 'bert-layers'
import { ids, ROOT, serve } from './work.mjs'

const [dtype, threads] = process.argv.slice(2)
try {
  const bert = await Encoder.fromPretrained(join(ROOT, 'bert-base'), { device: 'cpu', dtype, threads: Number(threads) })
  await serve(
    lengths => lengths.map((length, row) => ({ ids: ids(row, length) })),
    async inputs => (await bert.encode(inputs)).dispose(), // as Python frees the peers' arrays
  )
} catch (error) {
  console.log(JSON.stringify({ ready: false, why: error.message }))
}
