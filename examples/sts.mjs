#!/usr/bin/env node
/**
 * Which layer, which mix, which pooling? For pairs of sentences with a score of their similarity (STS-B, say), prints Spearman's
 * correlation × 100 between the scores and the cosines of the vectors, for every layer of a model and for some mixes of layers.
 *
 *     node examples/sts.mjs PAIRS.csv [MODEL]
 *
 * PAIRS.csv has two sentences and a number a line, without a heading. Without MODEL it is the one that comes with the package.
 */
import { readFileSync } from 'node:fs'
import { Encoder } from 'bert-layers'
import { correlation, readPairs } from './sts/spearman.mjs'

const [file, model] = process.argv.slice(2)
if (file === undefined) {
  console.error('usage: node examples/sts.mjs PAIRS.csv [MODEL]')
  process.exit(2)
}
const pairs = readPairs(readFileSync(file, 'utf8'))
const bert = await Encoder.fromPretrained(model)
const last = bert.config.numLayers

/** One pass for all layers: embed keeps a vector a text and layer, no hidden states. */
console.log(`${pairs.length} pairs, ${model ?? 'the default model'}: Spearman × 100\n\nlayer    mean     cls     max`)
const pools = []
for (const pool of ['mean', 'cls', 'max']) {
  pools.push(await embedPairs({ layers: 'all', combine: 'none', pool, normalize: false }))
}
for (let layer = 0; layer <= last; layer++) {
  const cells = pools.map(vectors => show(correlation(pairs, vectors.layer(layer))))
  console.log(`${String(layer).padStart(5)}${cells.join('')}`)
}

console.log('\nmixes of layers, mean pooling')
const mixes = { '0 and last': [0, -1], '1 and last': [1, -1], '2 and last': [2, -1], 'last two': [-2, -1] }
for (const [name, layers] of Object.entries({ ...mixes, all: 'all' })) {
  const vectors = await embedPairs({ layers, combine: 'mean', pool: 'mean', normalize: false })
  console.log(`${name.padEnd(12)}${show(correlation(pairs, vectors))}`)
}

const own = await embedPairs({})
const { pool, source } = own.pooling
const who = source === 'model' ? 'by its own files' : 'by default: it has no files that say'
console.log(`\nthe model's own vectors (${pool}, ${who}): ${correlation(pairs, own).toFixed(2)}`)
await bert.dispose()

/** There is no correlation where all cosines are equal, as those of [CLS] in the embedding output are. */
function show(value) {
  return (Number.isNaN(value) ? '-' : value.toFixed(2)).padStart(8)
}

/** Vectors of the pairs' sentences: those of pair i are 2i and 2i + 1. */
function embedPairs(options) {
  const sentences = pairs.flatMap(({ first, second }) => [first, second])
  return bert.embed(sentences, options)
}
