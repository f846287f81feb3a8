import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { flush } from './cache.ts'
import type { HubFile } from './listing.ts'
import { onDisk } from './problem.ts'

const READ = 1 << 20
const { O_RDWR, O_CREAT, O_NOFOLLOW = 0 } = constants

/**
 * A file that is being downloaded, under a name of its own. What was written is hashed as it comes, and stays between tries and
 * processes; only a file whose size and hash are right is given its final name.
 */
export class PartialFile {
  readonly #path: string
  readonly #file: HubFile
  #handle: FileHandle
  #hash: Hash
  #size = 0

  private constructor(path: string, file: HubFile, handle: FileHandle) {
    this.#path = path
    this.#file = file
    this.#handle = handle
    this.#hash = newHash(file)
  }

  /** Opens what is there, or an empty file. */
  static open(path: string, file: HubFile): Promise<PartialFile> {
    return onDisk(path, () => PartialFile.#open(path, file))
  }

  static async #open(path: string, file: HubFile): Promise<PartialFile> {
    const partial = new PartialFile(path, file, await openFile(path))
    try {
      await partial.#readBack()
      if (partial.#size > file.size) await partial.restart()
      return partial
    } catch (error) {
      await partial.close()
      throw error
    }
  }

  /** The bytes that are there. */
  get size(): number {
    return this.#size
  }

  get isFull(): boolean {
    return this.#size === this.#file.size
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; ) {
      const { bytesWritten } = await onDisk(this.#path, () => this.#handle.write(rest, 0, rest.length, this.#size))
      this.#hash.update(rest.subarray(0, bytesWritten))
      this.#size += bytesWritten
      rest = rest.subarray(bytesWritten)
    }
  }

  /** Begins again with a new file: the old one is not cut short, for it might be somebody else's by now. */
  async restart(): Promise<void> {
    await onDisk(this.#path, async () => {
      await this.#handle.close()
      await rm(this.#path, { force: true })
      this.#handle = await openFile(this.#path)
    })
    this.#hash = newHash(this.#file)
    this.#size = 0
  }

  /** Whether what is there is what the hub states. */
  isRight(): boolean {
    return this.isFull && this.#hash.copy().digest('hex') === this.#file.hash
  }

  /** Gives it its final name, once it is on the disk. */
  async finish(path: string): Promise<void> {
    await onDisk(this.#path, async () => {
      await this.#handle.sync()
      await this.#handle.close()
      await rename(this.#path, path)
    })
    // So that the name, too, outlives a power cut. Not every system can.
    await flush(dirname(path)).catch(() => {})
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true })
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }

  async #readBack(): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ)
    for (;;) {
      const { bytesRead } = await this.#handle.read(buffer, 0, READ, this.#size)
      if (bytesRead === 0) return
      this.#hash.update(buffer.subarray(0, bytesRead))
      this.#size += bytesRead
    }
  }
}

function openFile(path: string): Promise<FileHandle> {
  return open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644)
}

/** git hashes a small file behind its kind and size. */
export function newHash({ hash, size }: HubFile): Hash {
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}
