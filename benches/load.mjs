#!/usr/bin/env node
/**
 * What a load costs, from a warm file, each figure from processes of their own:
 *
 *     node benches/load.mjs [ROUNDS]        (after `npm run build`)
 *
 * - seconds from fromPretrained to the states of a first text, beside onnxruntime-node (session and first run) where it is
 *   installed (see peers.mjs) and has the same model: the median of the rounds' ratios is at least 2
 * - peak resident memory of loading a BERT-base and encoding 32 × 128 tokens, in each dtype: at most the weights in that dtype
 *   and the result plus 150 MB
 *
 * Prints one JSON object; exits 1 if a limit is broken.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { batch, bertBase } from './model.mjs'
import { ids, onnxruntime, padded, ROOT } from './peers/work.mjs'

const MB = 1e6
const SLACK = 150 * MB
const round = (value, digits = 2) => Math.round(value * 10 ** digits) / 10 ** digits
const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** The most memory that this process ever had. */
function peak() {
  try {
    return Number(readFileSync('/proc/self/status', 'utf8').match(/VmHWM:\s+(\d+) kB/)[1]) * 1024
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

/** What a child process does: it prints its answer. */
const CHILDREN = {
  async ours(folder, dtype, texts, length) {
    const { Encoder, inspect } = await import('bert-layers')
    const inputs = texts === 1 ? [{ ids: ids(0, length) }] : batch(texts, length)
    const from = performance.now()
    const bert = await Encoder.fromPretrained(folder, { device: 'cpu', dtype })
    const states = await bert.encode(inputs)
    const seconds = (performance.now() - from) / 1000
    const most = peak()
    const { memory } = await inspect(folder)
    return { seconds, peak: most, result: states.data.byteLength, weights: memory[bert.dtype] }
  },

  async onnxruntime(file, texts, length) {
    const { InferenceSession, Tensor } = await onnxruntime()
    const { tokens, mask, dims } = padded(new Array(texts).fill(length))
    const from = performance.now()
    const session = await InferenceSession.create(file)
    const { hs } = await session.run({ ids: new Tensor('int64', tokens, dims), mask: new Tensor('int64', mask, dims) })
    return { seconds: (performance.now() - from) / 1000, peak: peak(), result: hs.data.byteLength }
  },
}

function inChild(name, ...args) {
  const output = execFileSync(process.execPath, [fileURLToPath(import.meta.url), 'child', name, JSON.stringify(args)])
  return JSON.parse(output.toString())
}

async function start(rounds) {
  const [folder, file] = [join(ROOT, 'bert-base'), join(ROOT, 'f32.onnx')]
  const there = existsSync(folder) && existsSync(file) && (await onnxruntime().then(Boolean, () => false))
  if (!there) return { notRun: `no onnxruntime-node, or no ${folder} and ${file}: see benches/peers.mjs` }
  const ours = () => inChild('ours', folder, 'float32', 1, 16)
  const theirs = () => inChild('onnxruntime', file, 1, 16)
  ours() // the files are in memory now
  theirs()
  const pairs = Array.from({ length: rounds }, () => [ours().seconds, theirs().seconds])
  const ratio = median(pairs.map(([a, b]) => b / a))
  const [seconds, onnxruntimeSeconds] = [0, 1].map(which => round(median(pairs.map(pair => pair[which]))))
  return { seconds, onnxruntimeSeconds, ratio: round(ratio), ok: ratio >= 2 }
}

function memory(dtype) {
  const { peak, result, weights } = inChild('ours', bertBase(), dtype, 32, 128)
  const [peakMB, weightsMB, resultMB] = [peak, weights, result].map(bytes => Math.round(bytes / MB))
  return {
    dtype,
    peakMB,
    weightsMB,
    resultMB,
    aboveMB: peakMB - weightsMB - resultMB,
    ok: peak <= weights + result + SLACK,
  }
}

if (process.argv[2] === 'child') {
  const [name, args] = process.argv.slice(3)
  console.log(JSON.stringify(await CHILDREN[name](...JSON.parse(args))))
} else {
  const first = await start(Number(process.argv[2] ?? 5))
  const peaks = ['float32', 'bfloat16', 'int8'].map(memory)
  const ok = (first.ok ?? true) && peaks.every(one => one.ok)
  console.log(JSON.stringify({ ok, firstStates: first, memory: peaks }, null, 1))
  process.exitCode = ok ? 0 : 1
}
