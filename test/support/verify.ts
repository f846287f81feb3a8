/** `npm run verify` runs everything at full counts. */
export const VERIFY = process.env.BERT_LAYERS_VERIFY === '1'

export function count(normal: number, verify: number): number {
  return VERIFY ? verify : normal
}

/** Property tests: seeded, so that a failure is the same everywhere. */
export function runs(normal: number, verify = normal * 10) {
  return { seed: 20_240_607, numRuns: count(normal, verify) }
}
