import { types } from 'node:util'
import type { NumericVector } from '../index.d.ts'
import { invalidInput } from './errors.ts'
import { describe, describeNumber, isArrayLike } from './validate.ts'

export function dot(a: NumericVector, b: NumericVector): number {
  checkPair(a, b)
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

export function cosineSimilarity(a: NumericVector, b: NumericVector): number {
  checkPair(a, b)
  return inRange(a) && inRange(b) ? cosine(a, b) : cosine(scaled(a), scaled(b))
}

/** Squares of larger numbers are infinite, those of smaller ones zero. */
const [SMALLEST, LARGEST] = [1e-75, 1e70]

function inRange(vector: NumericVector): boolean {
  const size = largest(vector)
  return size === 0 || (size > SMALLEST && size < LARGEST)
}

/** The same direction, its largest component 1. */
function scaled(vector: NumericVector): NumericVector {
  const size = largest(vector)
  return size === 0 ? vector : Float64Array.from(vector, x => x / size)
}

/** NaN where the vector has one. */
function largest(vector: NumericVector): number {
  let most = 0
  for (let i = 0; i < vector.length; i++) most = Math.max(most, Math.abs(vector[i]!))
  return most
}

function cosine(a: NumericVector, b: NumericVector): number {
  let product = 0
  let aa = 0
  let bb = 0
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!
    aa += a[i]! * a[i]!
    bb += b[i]! * b[i]!
  }
  // One root is rounded once, and so makes equal directions exactly 1.
  const lengths = Math.sqrt(aa * bb)
  // Rounding may leave the interval by a hair, and then Math.acos gives NaN.
  return lengths === 0 ? 0 : Math.max(-1, Math.min(1, product / lengths))
}

export function euclideanDistance(a: NumericVector, b: NumericVector): number {
  checkPair(a, b)
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2
  return Math.sqrt(sum)
}

function checkPair(a: unknown, b: unknown): void {
  checkVector(a, 'the first vector')
  checkVector(b, 'the second vector')
  const [first, second] = [(a as NumericVector).length, (b as NumericVector).length]
  if (first !== second)
    throw invalidInput(`the vectors must be of one length; they have ${first} and ${second} numbers`)
  if (first === 0) throw invalidInput('the vectors are empty')
}

/** An array of numbers, or a typed array: not of bigint, and not what embed packs bits in. */
export function checkVector(value: unknown, what: string): asserts value is NumericVector {
  if (!isArrayLike(value) || types.isBigInt64Array(value) || types.isBigUint64Array(value)) {
    throw invalidInput(`${what} must be an array of numbers or a typed array (not of bigint), not ${describe(value)}`)
  }
  if (types.isUint8Array(value) || types.isUint16Array(value)) {
    throw invalidInput(
      `${what} is ${describe(value)}, in which embed gives bits, not numbers (precision 'binary' and 'float16'): embed in 'float32' or ` +
        "'int8'; small numbers of your own convert with Float32Array.from()",
    )
  }
  if (types.isTypedArray(value)) return
  for (let i = 0; i < value.length; i++) {
    if (typeof value[i] !== 'number') {
      throw invalidInput(`${what} must hold numbers: at position ${i} it has ${describeNumber(value[i])}`)
    }
  }
}
