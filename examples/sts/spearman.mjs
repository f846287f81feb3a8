/** Pairs from lines `sentence,sentence,score`, where a sentence in quotes may hold commas, and doubled quotes. */
export function readPairs(csv) {
  const lines = csv.split(/\r?\n/).filter(line => line.trim() !== '')
  return lines.map((line, at) => {
    const fields = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
      ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain,
    )
    const [first, second, score] = fields
    if (fields.length !== 3 || Number.isNaN(Number.parseFloat(score))) {
      throw new Error(`line ${at + 1} is not "sentence,sentence,score": ${line}`)
    }
    return { first, second, score: Number.parseFloat(score) }
  })
}

/** Spearman × 100 of the pairs' scores and the cosines of vectors 2i and 2i + 1. */
export function correlation(pairs, vectors) {
  const cosines = pairs.map((_, pair) => cosine(vectors.get(2 * pair), vectors.get(2 * pair + 1)))
  const scores = pairs.map(({ score }) => score)
  return 100 * pearson(ranks(scores), ranks(cosines))
}

function cosine(a, b) {
  let [dot, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i]
    aa += a[i] * a[i]
    bb += b[i] * b[i]
  }
  return dot / Math.sqrt(aa * bb)
}

/** Ranks from 0; equal values share the average of theirs. */
function ranks(values) {
  const order = [...values.keys()].sort((a, b) => values[a] - values[b])
  const ranked = new Float64Array(values.length)
  for (let start = 0; start < order.length; ) {
    let end = start + 1
    while (end < order.length && values[order[end]] === values[order[start]]) end++
    for (let i = start; i < end; i++) ranked[order[i]] = (start + end - 1) / 2
    start = end
  }
  return ranked
}

function pearson(a, b) {
  const mean = values => values.reduce((x, y) => x + y) / values.length
  const [meanA, meanB] = [mean(a), mean(b)]
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] - meanA, b[i] - meanB]
    ab += x * y
    aa += x * x
    bb += y * y
  }
  return ab / Math.sqrt(aa * bb)
}
