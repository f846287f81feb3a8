/**
 * How fast each family computes a multiply-add, beside BERT at the same sizes: ratios, all families taking their turn in each round.
 *
 *     node benches/families.mjs [--dtype float32] [--texts 8] [--tokens 128] [--rounds 9] [--threads N] [--make]
 *
 * The models are the goldens' at bert-base's sizes, made once, in .bench; `--make` does no more than that. A family that is slower
 * than its limit makes the exit status 1.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Encoder } from 'bert-layers'
import { BASE, makeResized, resizedConfig, resizedShapes } from './resized.mjs'

const OTHERS = [
  'roberta',
  'distilbert',
  'electra',
  'ernie',
  'albert',
  'mpnet',
  'deberta-v2',
  'modernbert',
  'nomic_bert',
]
const FAMILIES = ['bert', ...OTHERS]

/** The least share of BERT's speed. */
function limit(family) {
  return family === 'deberta-v2' ? 0.6 : 0.8
}

function modelOf(family) {
  const folder = join(dirname(fileURLToPath(import.meta.url)), '../.bench', `family-${family}`)
  if (!existsSync(join(folder, 'config.json'))) {
    console.error(`making ${folder}`)
    makeResized(family, BASE, folder)
  }
  return folder
}

/** Multiply-adds for a token of a text of `tokens`, in all layers: of matrices, and of attention. */
function multiplyAdds(family, tokens) {
  const config = resizedConfig(family, BASE)
  const layers = config.num_hidden_layers ?? config.n_layers
  const uses = layers / (config.num_hidden_groups ?? layers)
  const matrices = resizedShapes(family, BASE).filter(
    ({ name, shape }) =>
      shape.length === 2 && !/^embeddings\.|^pooler|rel_embeddings|relative_attention_bias/.test(name),
  )
  const ofMatrices = matrices.map(({ name, shape }) => shape[0] * shape[1] * (/\.\d+\./.test(name) ? uses : 1))
  const ofAttention = Array.from({ length: layers }, (_, layer) => {
    const isLocal = layer % (config.global_attn_every_n_layers ?? 1) !== 0
    const reach = isLocal ? config.local_attention / 2 : tokens
    const pairs = Array.from({ length: tokens }, (_, i) => Math.min(tokens - 1, i + reach) - Math.max(0, i - reach) + 1)
    // Scores, and sums of values; DeBERTa's scores are three products.
    return (family === 'deberta-v2' ? 4 : 2) * BASE.hidden * (sum(pairs) / tokens)
  })
  return sum(ofMatrices) + sum(ofAttention)
}

function sum(numbers) {
  return numbers.reduce((a, b) => a + b, 0)
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]
}

const { values } = parseArgs({
  options: {
    dtype: { type: 'string', default: 'float32' },
    texts: { type: 'string', default: '8' },
    tokens: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string' },
    make: { type: 'boolean' },
  },
})
const { dtype } = values
const [texts, tokens, rounds] = [values.texts, values.tokens, values.rounds].map(Number)
const folders = FAMILIES.map(modelOf)
if (values.make) process.exit()

const inputs = Array.from({ length: texts }, (_, t) => ({
  ids: Uint32Array.from({ length: tokens }, (_, i) => 5 + ((t * 7919 + i * 104729) % 900)),
}))
const options = { dtype, ...(values.threads && { threads: Number(values.threads) }) }
const encoders = []
for (const folder of folders) encoders.push(await Encoder.fromPretrained(folder, options))
/** Multiply-adds in a nanosecond. */
async function speed(i) {
  const start = performance.now()
  await encoders[i].encode(inputs)
  return (multiplyAdds(FAMILIES[i], tokens) * texts * tokens) / (performance.now() - start) / 1e6
}

/** Each family right after BERT: what the machine does to the one it does to the other, mostly. */
const pairs = FAMILIES.map(() => [])
for (let round = -1; round < rounds; round++) {
  for (const i of FAMILIES.keys()) {
    const pair = [await speed(0), await speed(i)]
    if (round >= 0) pairs[i].push(pair) // the first round is for caches and clocks
  }
}
console.log(
  `${texts} × ${tokens} tokens, ${dtype}, ${rounds} rounds: best G multiply-adds/s; share of BERT's: median (of best; worst)`,
)
for (const [i, family] of FAMILIES.entries()) {
  const shares = pairs[i].map(([bert, own]) => own / bert)
  const best = Math.max(...pairs[i].map(([, own]) => own))
  const ofBest = best / Math.max(...pairs.flat().map(([bert]) => bert))
  const isSlow = median(shares) < limit(family)
  if (isSlow) process.exitCode = 1
  const figures = `${best.toFixed(1).padStart(7)}  ${median(shares).toFixed(2)} (${ofBest.toFixed(2)}; ${Math.min(...shares).toFixed(2)})`
  console.log(`${family.padEnd(12)}${figures}${isSlow ? `  below ${limit(family)}` : ''}`)
}
for (const encoder of encoders) await encoder.dispose()
