import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Contents by path. */
export type Files = Record<string, Uint8Array | string>

/** The files of a folder, those in its folders too; with `links` also those that are links. */
export function filesOf(folder: string, links = false): Files {
  const files: Files = {}
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() && !(links && entry.isSymbolicLink())) continue
    const path = join(entry.parentPath ?? entry.path, entry.name)
    files[path.slice(folder.length + 1).replaceAll('\\', '/')] = readFileSync(path)
  }
  return files
}

/** A file as the API lists it. */
export function describeFile(path: string, bytes: Buffer) {
  const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 134 }
  return { type: 'file', oid: gitHash(bytes), size: bytes.length, ...(isLarge(path) ? { lfs } : {}), path }
}

/** Which files git LFS keeps. */
export function isLarge(path: string): boolean {
  return /\.(safetensors|bin|msgpack|h5|onnx|model)$/.test(path)
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function gitHash(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
}
