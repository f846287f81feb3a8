#!/usr/bin/env node
/**
 * Whether cost grows as it should, with models of BERT-base's, BERT-large's and MiniLM's size:
 *
 *     node benches/scaling.mjs [ROUNDS] [PART...]        (after `npm run build`; 5 GB of memory)
 *
 * - layers: of 12, `layers: [2]` takes at most 0.25 of the time of 'all', and as much memory as one layer
 * - batch: tokens a second of 8, 32 and 256 texts of 128 tokens are within 10 %
 * - length: texts of 512 tokens take as much longer a token than texts of 128 as they have more multiply-adds, within 5 %
 * - models: the multiply-adds a second of BERT-large are at least 0.95, those of MiniLM 0.85 of BERT-base's
 *
 * What is compared takes turns within each round; figures are medians over the rounds. Prints one JSON object; exits 1 if a limit
 * is broken.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { Encoder } from 'bert-layers'
import { batch, bertBase, bertLarge } from './model.mjs'

const MB = 1e6
const rounds = Number(process.argv[2] ?? 5)
const only = process.argv.slice(3)
const round = (value, digits = 3) => Math.round(value * 10 ** digits) / 10 ** digits
const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** Runs each contestant once in each round, in turns that change, and once before; the seconds of each by name. */
async function race(contestants) {
  const names = Object.keys(contestants)
  const seconds = Object.fromEntries(names.map(name => [name, []]))
  for (let turn = -1; turn < rounds; turn++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + turn + 1) % names.length]
      const from = performance.now()
      await contestants[name]()
      if (turn >= 0) seconds[name].push((performance.now() - from) / 1000)
    }
  }
  return seconds
}

/** The median over the rounds of `factor` · a's seconds / b's. */
const ratio = (seconds, a, b, factor = 1) => round(factor * median(seconds[a].map((x, turn) => x / seconds[b][turn])))

/** Multiply-adds of a token among `length`: four matrices of attention, two of the feed-forward network, scores and weighted sums. */
function multiplyAdds({ numLayers, hiddenSize }, length) {
  const intermediate = 4 * hiddenSize
  return numLayers * (4 * hiddenSize ** 2 + 2 * hiddenSize * intermediate + 2 * length * hiddenSize)
}

/** How much memory rises above what was there before, at most; Linux can forget the peak so far. */
async function rise(call) {
  const status = name => Number(readFileSync('/proc/self/status', 'utf8').match(`${name}:\\s+(\\d+) kB`)[1]) * 1024
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    return undefined
  }
  const before = status('VmRSS')
  const { data } = await call()
  return { result: data.byteLength, rise: status('VmHWM') - before }
}

const PARTS = {
  async layers() {
    const bert = await Encoder.fromPretrained(bertBase())
    const inputs = batch(32, 128)
    const memory = await rise(() => bert.encode(inputs, { layers: [2] }))
    const [many, one] = [batch(32, 128), batch(1, 128)]
    const seconds = await race({
      'all of 32 texts': () => bert.encode(many),
      '[2] of 32 texts': () => bert.encode(many, { layers: [2] }),
      'all of 1 text': () => bert.encode(one),
      '[2] of 1 text': () => bert.encode(one, { layers: [2] }),
    })
    await bert.dispose()
    const shares = [
      ratio(seconds, '[2] of 32 texts', 'all of 32 texts'),
      ratio(seconds, '[2] of 1 text', 'all of 1 text'),
    ]
    const kept = memory && { resultMB: round(memory.result / MB, 1), riseMB: round(memory.rise / MB, 1) }
    const small = !memory || memory.rise < 1.3 * memory.result + 50 * MB
    return { shares, memory: kept ?? 'cannot be told here', ok: shares.every(share => share <= 0.25) && small }
  },

  async batch() {
    const bert = await Encoder.fromPretrained(bertBase())
    const sizes = [8, 32, 256]
    const seconds = await race(
      Object.fromEntries(
        sizes.map(size => {
          const inputs = batch(size, 128)
          // As many texts of each size, so that what one contestant leaves to be freed weighs as little in all others.
          const calls = Math.max(...sizes) / size
          const encodeAll = async () => {
            for (let call = 0; call < calls; call++) await bert.encode(inputs)
          }
          return [size, encodeAll]
        }),
      ),
    )
    await bert.dispose()
    const relative = sizes.slice(1).map(size => ratio(seconds, 8, size))
    const texts = Math.max(...sizes)
    const tokens = Object.fromEntries(sizes.map(size => [size, Math.round((texts * 128) / median(seconds[size]))]))
    const all = [1, ...relative]
    return { tokensPerSecond: tokens, relative, ok: Math.min(...all) / Math.max(...all) >= 0.9 }
  },

  async length() {
    const bert = await Encoder.fromPretrained(bertBase())
    const [short, long] = [batch(32, 128), batch(8, 512)]
    const seconds = await race({ 128: () => bert.encode(short), 512: () => bert.encode(long) })
    const expected = round(multiplyAdds(bert.config, 512) / multiplyAdds(bert.config, 128))
    await bert.dispose()
    const times = ratio(seconds, 512, 128)
    return { times, expected, ok: times <= 1.05 * expected }
  },

  async models() {
    const names = { base: bertBase(), large: bertLarge(), MiniLM: undefined }
    const berts = {}
    for (const [name, model] of Object.entries(names)) berts[name] = await Encoder.fromPretrained(model)
    const inputs = batch(8, 128)
    const work = name => multiplyAdds(berts[name].config, 128)
    const seconds = await race(
      Object.fromEntries(Object.entries(berts).map(([name, bert]) => [name, () => bert.encode(inputs)])),
    )
    const speed = name => ratio(seconds, 'base', name, work(name) / work('base'))
    const [large, MiniLM] = [speed('large'), speed('MiniLM')]
    const gops = Object.fromEntries(
      Object.keys(berts).map(name => [name, round((2 * work(name) * 8 * 128) / median(seconds[name]) / 1e9, 0)]),
    )
    for (const bert of Object.values(berts)) await bert.dispose()
    return { gops, large, MiniLM, ok: large >= 0.95 && MiniLM >= 0.85 }
  },
}

const report = {}
for (const [name, part] of Object.entries(PARTS)) {
  if (only.length === 0 || only.includes(name)) report[name] = await part()
}
const ok = Object.values(report).every(one => one.ok)
console.log(JSON.stringify({ ok, ...report }, null, 1))
process.exitCode = ok ? 0 : 1
