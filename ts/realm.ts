type Vectors = Float32Array | Uint16Array | Int8Array | Uint8Array

type Kind = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Vectors

const KINDS: Record<Vectors[typeof Symbol.toStringTag], Kind> = { Float32Array, Uint16Array, Int8Array, Uint8Array }

/**
 * The same memory as an array of the realm that this code runs in. Native code makes arrays of the process's main realm, which
 * are no `instanceof Float32Array` where a test runner such as Jest loads modules into realms of their own.
 */
export function ofThisRealm<A extends Vectors>(array: A): A {
  const { buffer, byteOffset, length } = array
  return new KINDS[array[Symbol.toStringTag]](buffer, byteOffset, length) as A
}
