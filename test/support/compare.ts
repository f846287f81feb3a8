import { expect } from 'vitest'

export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let dot = 0
  let aa = 0
  let bb = 0
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!
    aa += a[i]! * a[i]!
    bb += b[i]! * b[i]!
  }
  return dot / Math.sqrt(aa * bb)
}

/** The largest difference; NaN if there is one anywhere. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!)
    if (!(difference <= most)) most = difference
    if (Number.isNaN(most)) return most
  }
  return most
}

/** The bounds of DESIGN.md for float32. */
export function expectParity(actual: Float32Array, expected: Float32Array, what: string): void {
  expect(actual.length, what).toBe(expected.length)
  expect(cosine(actual, expected), `cosine of ${what}`).toBeGreaterThanOrEqual(1 - 1e-6)
  expect(maxDifference(actual, expected), `difference of ${what}`).toBeLessThanOrEqual(2e-4)
}

/** Equal bit by bit. */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))
}
