import { types } from 'node:util'

import { BertLayersError, invalidInput } from './errors.ts'
import { checkVector } from './similarity.ts'
import { describe, isObject } from './validate.ts'

/** A matrix [vector][dim]. */
export interface Matrix {
  data: Float32Array
  dim: number
}

/**
 * Vectors in any of the forms they come in, as one matrix; `dim` is what their length must be, if that is known. The caller's
 * own Float32Array is not copied here, and whether numbers are finite is for Rust to say.
 */
export function readVectors(value: unknown, what: string, dim: number | undefined): Matrix {
  if (types.isFloat32Array(value)) return matrix(value, dim, what)
  if (Array.isArray(value)) {
    if (value.length === 0) throw invalidInput(`${what} are empty: give at least one vector`)
    return typeof value[0] === 'number' ? flat(value, what, dim) : rows(value, what, dim)
  }
  if (isObject(value) && 'data' in value && 'dim' in value) {
    if ('layers' in value && value.layers !== undefined) {
      throw invalidInput(`${what} hold the vectors of several layers (combine 'none'): give one's, such as layer(-1)`)
    }
    if (!types.isFloat32Array(value.data)) {
      throw invalidInput(
        `${what}.data must be a Float32Array, not ${describe(value.data)}: embed in precision 'float32'`,
      )
    }
    return matrix(value.data, agree(checkDim(value.dim, `${what}.dim`), dim, what), what)
  }
  throw invalidInput(
    `${what} must be a Float32Array, an array of vectors or what embed gives ({ data, dim }), not ${describe(value)}`,
  )
}

export function checkDim(value: unknown, what: string): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 0xffff_ffff) return value as number
  throw invalidInput(`${what} must be a whole number from 1 to 4294967295, not ${describe(value)}`)
}

function matrix(data: Float32Array, dim: number | undefined, what: string): Matrix {
  if (data.length === 0) throw invalidInput(`${what} are empty: give at least one vector`)
  if (dim === undefined) {
    throw invalidInput(
      `${what} are one array of numbers: give vectors, such as [[1, 2, 3]], or option dim, how many numbers are one vector`,
    )
  }
  if (data.length % dim !== 0) {
    throw invalidInput(`${what} have ${data.length} numbers, which is no whole number of vectors of dimension ${dim}`)
  }
  return { data, dim }
}

function flat(values: readonly unknown[], what: string, dim: number | undefined): Matrix {
  checkVector(values, what)
  return matrix(Float32Array.from(values), dim, what)
}

function rows(vectors: readonly unknown[], what: string, wanted: number | undefined): Matrix {
  const name = (index: number) => `${what}[${index}]`
  checkVector(vectors[0], name(0))
  const dim = agree(vectors[0].length, wanted, what)
  if (dim === 0) throw invalidInput(`${name(0)} is empty`)
  const data = zeros(vectors.length * dim, what)
  for (let index = 0; index < vectors.length; index++) {
    const vector = vectors[index]
    checkVector(vector, name(index))
    if (vector.length !== dim) throw invalidInput(`${name(index)} has ${vector.length} numbers, not ${dim}`)
    data.set(vector as ArrayLike<number>, index * dim)
  }
  return { data, dim }
}

function agree(dim: number, wanted: number | undefined, what: string): number {
  if (wanted === undefined || dim === wanted) return dim
  throw invalidInput(`${what} are of dimension ${dim}, not ${wanted}`)
}

function zeros(length: number, what: string): Float32Array {
  try {
    return new Float32Array(length)
  } catch (cause) {
    const message = `${what} need ${4 * length} bytes, more than there is memory for: give fewer at once`
    throw new BertLayersError('ERR_OUT_OF_MEMORY', message, { cause })
  }
}
