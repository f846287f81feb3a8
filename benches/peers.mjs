#!/usr/bin/env node
/**
 * Races this package against the engines that a user would pick instead, on the same weights and inputs, every hidden state of
 * a BERT-base delivered as float32:
 *
 *     npm run bench:peers -- [--rounds 5] [--threads 2] [--only float32] [--without torch,…] [--record]
 *
 * Peers: onnxruntime and OpenVINO and PyTorch (Python, in the venv that `python3 benches/peers/engines.py setup` makes once
 * under $BERT_PEERS), and onnxruntime-node (`npm install --prefix ~/.cache/bert-peers --ignore-scripts onnxruntime-node`).
 * Engines take turns within each round, each time from another one on, so that a machine's noise falls on all of them; the
 * figure is the median over the rounds of the ratio to the best peer of the same precision. In its turn an engine runs a case once
 * to warm up and then several times, of which the median counts.
 *
 * --record writes benches/record/<processor>.json; with --only it keeps what the file has of the other precisions. The name has
 * the processor's family and model where Linux tells them: clouds call three generations of processors "AMD EPYC".
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CASES, ROOT } from './peers/work.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))
const PYTHON = join(ROOT, '.venv', 'bin', 'python')

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
    without: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
})

/** "family 25", "model 17": what tells processors of one name apart. Empty where it is not known. */
function generation() {
  const info = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : ''
  const found = [/^cpu family\s*: (\d+)$/m, /^model\s*: (\d+)$/m].map(line => info.match(line)?.[1])
  return found.includes(undefined) ? [] : [`family ${found[0]}`, `model ${found[1]}`]
}

/** Milliseconds between two engines' runs. */
const SETTLE = 100

/** Ours first; who is named in no precision is a peer of none. */
const PRECISIONS = {
  float32: ['ours', 'torch-f32', 'ort-f32', 'openvino-f32', 'ort-node-f32'],
  bfloat16: ['ours', 'torch-bf16', 'openvino-bf16'],
  int8: ['ours', 'ort-int8', 'openvino-int8', 'ort-node-int8'],
}

/** An engine in a process of its own, which answers each case's name with the seconds of one run. */
class Engine {
  constructor(name, precision) {
    this.name = name === 'ours' ? `bert-layers ${precision}` : name
    const [command, args] =
      name === 'ours'
        ? [process.execPath, [join(HERE, 'peers', 'ours.mjs'), precision, values.threads]]
        : name.startsWith('ort-node')
          ? [process.execPath, [join(HERE, 'peers', 'onnxruntime.mjs'), name.split('-')[2], values.threads]]
          : [PYTHON, [join(HERE, 'peers', 'engines.py'), 'serve', name, values.threads]]
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
  }

  /** The next line that the engine prints; undefined when it has ended. */
  async answer() {
    const { value, done } = await this.lines.next()
    return done ? undefined : JSON.parse(value)
  }

  async run(testCase) {
    await sleep(SETTLE) // onnxruntime's threads spin on after a run: whoever came next at once took a quarter longer
    this.child.stdin.write(`${testCase}\n`)
    const answer = await this.answer()
    if (answer === undefined) throw new Error(`${this.name} ended`)
    return answer.seconds
  }

  end() {
    this.child.stdin.end()
  }
}

const median = numbers => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
const figures = {}
const left = values.without?.split(',') ?? []

for (const [precision, names] of Object.entries(PRECISIONS)) {
  if (values.only && values.only !== precision) continue
  const engines = []
  for (const name of names) {
    if (left.some(beginning => name.startsWith(beginning))) continue
    if (name !== 'ours' && !name.startsWith('ort-node') && !existsSync(PYTHON)) continue
    const engine = new Engine(name, precision)
    const ready = await engine.answer().catch(() => undefined)
    if (ready?.ready) engines.push(engine)
    else console.error(`${engine.name}: not here${ready?.why ? ` (${ready.why})` : ''}`)
  }
  const [ours, ...peers] = engines
  if (ours?.name !== `bert-layers ${precision}` || peers.length === 0) {
    console.error(`${precision}: nothing to compare`)
  } else {
    for (const testCase of Object.keys(CASES)) {
      const rounds = []
      for (let round = 0; round < Number(values.rounds); round++) {
        const seconds = {}
        for (let turn = 0; turn < engines.length; turn++) {
          const engine = engines[(round + turn) % engines.length]
          seconds[engine.name] = await engine.run(testCase)
        }
        rounds.push(seconds)
      }
      const ratios = rounds.map(round => Math.min(...peers.map(peer => round[peer.name])) / round[ours.name])
      const tokens = CASES[testCase].flat().reduce((a, b) => a + b, 0)
      figures[precision] ??= {}
      figures[precision][testCase] = {
        ratio: Number(median(ratios).toFixed(3)),
        worst: Number(Math.min(...ratios).toFixed(3)),
        rounds: rounds.length,
        tokensPerSecond: Object.fromEntries(
          engines.map(({ name }) => [name, Math.round(tokens / median(rounds.map(round => round[name])))]),
        ),
      }
      const { ratio, worst, tokensPerSecond } = figures[precision][testCase]
      console.error(`${precision} ${testCase}: ${ratio} (worst ${worst})`, tokensPerSecond)
    }
  }
  for (const engine of engines) engine.end()
}

console.log(
  `ratio to the best peer of the same precision, median of ${values.rounds} rounds, ${values.threads} threads`,
)
console.table(
  Object.fromEntries(
    Object.entries(figures).map(([precision, cases]) => [
      precision,
      Object.fromEntries(Object.entries(cases).map(([name, { ratio }]) => [name, ratio])),
    ]),
  ),
)
if (values.record) {
  const processor = [cpus()[0].model.trim(), ...generation()].join(' ').replace(/[^\w.-]+/g, '-')
  mkdirSync(join(HERE, 'record'), { recursive: true })
  const file = join(HERE, 'record', `${processor}.json`)
  const before = values.only && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).figures : {}
  const record = {
    processor: cpus()[0].model,
    threads: Number(values.threads),
    node: process.version,
    figures: { ...before, ...figures },
  }
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`)
}
