#!/usr/bin/env node
/**
 * How close bfloat16 and int8 stay to float32, layer by layer:
 *
 *     node benches/fidelity.mjs MODEL PAIRS.csv [SENTENCES]
 *
 * PAIRS.csv has lines `sentence,sentence,score` (STS-B). Prints, for each dtype and layer, the cosine of a token's hidden state to
 * float32's: the mean, what 99.9 % of the tokens reach, and the worst, over the first SENTENCES (200) sentences; and the
 * Spearman correlation (× 100) of the pairs' scores with the cosine of their mean-pooled states, and its change.
 */
import { readFileSync } from 'node:fs'
import { Encoder } from 'bert-layers'

const [model, file, sentences = '200'] = process.argv.slice(2)
if (!file) throw new Error('usage: node benches/fidelity.mjs MODEL PAIRS.csv [SENTENCES]')

/** Fields of a line of CSV, quoted ones with doubled quotes. */
const fields = line =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(m => (m[1] ?? m[2]).replaceAll('""', '"'))
const pairs = readFileSync(file, 'utf8').trim().split('\n').map(fields)
const texts = pairs.flatMap(pair => pair.slice(0, 2)) // a pair ends with its score
const scores = pairs.map(([, , score]) => Number(score))

function cosine(a, b) {
  let [dot, a2, b2] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i]
    a2 += a[i] * a[i]
    b2 += b[i] * b[i]
  }
  return dot / Math.sqrt(a2 * b2)
}

function mean(rows, width) {
  const out = new Float64Array(width)
  for (let i = 0; i < rows.length; i++) out[i % width] += rows[i]
  return out
}

/** Ranks from 0, ties sharing their mean. */
function ranks(values) {
  const order = [...values.keys()].sort((a, b) => values[a] - values[b])
  const out = new Float64Array(values.length)
  for (let i = 0; i < order.length; ) {
    let end = i
    while (end < order.length && values[order[end]] === values[order[i]]) end++
    for (let j = i; j < end; j++) out[order[j]] = (i + end - 1) / 2
    i = end
  }
  return out
}

function spearman(a, b) {
  const center = x => x.map(v => v - (x.length - 1) / 2)
  return 100 * cosine(center(ranks(a)), center(ranks(b)))
}

async function measure(dtype) {
  const bert = await Encoder.fromPretrained(model, { device: 'cpu', dtype })
  const states = await bert.encode(texts.slice(0, Number(sentences)))
  const similarities = states.layers.map(() => [])
  for (let i = 0; i < pairs.length; i += 64) {
    const part = pairs.slice(i, i + 64)
    const some = await bert.encode(part.flatMap(pair => pair.slice(0, 2)))
    for (const layer of some.layers) {
      part.forEach((_, j) => {
        const pooled = [2 * j, 2 * j + 1].map(text => mean(some.get(layer, text), some.hiddenSize))
        similarities[layer].push(cosine(...pooled))
      })
    }
  }
  await bert.dispose()
  return { states, correlations: similarities.map(similarity => spearman(similarity, scores)) }
}

const exact = await measure('float32')
for (const dtype of ['bfloat16', 'int8']) {
  const { states, correlations } = await measure(dtype)
  const width = states.hiddenSize
  const table = states.layers.map(layer => {
    const [a, b] = [states.layer(layer), exact.states.layer(layer)]
    const cosines = Array.from({ length: a.length / width }, (_, token) =>
      cosine(a.subarray(token * width, (token + 1) * width), b.subarray(token * width, (token + 1) * width)),
    ).sort((x, y) => x - y)
    return {
      mean: cosines.reduce((x, y) => x + y, 0) / cosines.length,
      '99.9 %': cosines[Math.floor(cosines.length / 1000)],
      worst: cosines[0],
      spearman: correlations[layer],
      change: correlations[layer] - exact.correlations[layer],
    }
  })
  console.log(`${dtype} against float32, ${states.data.length / states.layers.length / width} tokens`)
  console.table(table.map(row => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, Number(v.toFixed(5))]))))
}
