/** The work of the race, the same as in engines.py: batches of texts by their lengths. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** Where the peers and their copies of the model are. */
export const ROOT = process.env.BERT_PEERS ?? join(homedir(), '.cache', 'bert-peers')

/** onnxruntime-node: that of the peers' folder, of $NODE_PATH, or of this checkout. */
export async function onnxruntime() {
  try {
    return createRequire(join(ROOT, 'index.js'))('onnxruntime-node')
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
  }
  return import('onnxruntime-node').catch(() => {
    throw new Error(`npm install --prefix ${ROOT} --ignore-scripts onnxruntime-node`)
  })
}

const LENGTHS = JSON.parse(readFileSync(new URL('lengths.json', import.meta.url), 'utf8')).sort((a, b) => a - b)

export const CASES = {
  b1_s16: [[16]],
  b1_s128: [[128]],
  b8_s128: [new Array(8).fill(128)],
  b32_s128: [new Array(32).fill(128)],
  // Sorted, in batches of 32, as a careful user of a padding engine would.
  ragged: Array.from({ length: Math.ceil(LENGTHS.length / 32) }, (_, i) => LENGTHS.slice(32 * i, 32 * i + 32)),
}

/** How often a case runs for one answer, after once that does not count: the answer is the median. */
export const RUNS = { b1_s16: 15, b1_s128: 9, b8_s128: 5, b32_s128: 3, ragged: 3 }

/** The ids of text `row` of a batch. */
export const ids = (row, length) => Uint32Array.from({ length }, (_, j) => 1000 + ((row * 7 + j * 13) % 20000))

/** Answers the names of cases on standard input with the seconds of a run: `{ "seconds": … }`. */
export async function serve(prepare, run) {
  console.log(JSON.stringify({ ready: true }))
  for await (const line of createInterface({ input: process.stdin })) {
    const work = CASES[line].map(prepare)
    const seconds = []
    for (let i = -1; i < RUNS[line]; i++) {
      const from = performance.now()
      for (const batch of work) await run(batch)
      if (i >= 0) seconds.push((performance.now() - from) / 1000)
    }
    console.log(JSON.stringify({ seconds: seconds.sort((a, b) => a - b)[seconds.length >> 1] }))
  }
}

/** For engines that pad: ids and mask [texts, longest], as int64. */
export function padded(lengths) {
  const longest = Math.max(...lengths)
  const [tokens, mask] = [new BigInt64Array(lengths.length * longest), new BigInt64Array(lengths.length * longest)]
  lengths.forEach((length, row) => {
    for (const [j, id] of ids(row, length).entries()) {
      tokens[row * longest + j] = BigInt(id)
      mask[row * longest + j] = 1n
    }
  })
  return { tokens, mask, dims: [lengths.length, longest] }
}
