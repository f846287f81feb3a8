import { constants, existsSync, lstatSync, readFileSync, statSync } from 'node:fs'
import { copyFile, link, mkdir, open, readlink, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { isCommit } from './names.ts'
import { Problem } from './problem.ts'

/**
 * A model in the cache of huggingface_hub, which Python and this package share:
 *
 *     models--org--name/refs/main                        the commit that a branch or tag stood for
 *     models--org--name/blobs/<hash>                     the files, by what is in them
 *     models--org--name/blobs/<hash>.incomplete          what there is of one so far
 *     models--org--name/snapshots/<commit>/<path>        links to blobs
 *     models--org--name/.no_exist/<commit>/<path>        files that a commit is known not to have
 *     .locks/models--org--name/<hash>.lock
 */
export class CachedModel {
  readonly folder: string
  readonly #locks: string
  readonly #links: boolean

  /** `name` must be a hub name; `links` says whether there may be links. */
  constructor(cache: string, name: string, links: boolean) {
    const folder = `models--${name.replace('/', '--')}`
    this.folder = join(cache, folder)
    this.#locks = join(cache, '.locks', folder)
    this.#links = links
  }

  /** The commit that the cache has for a revision. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision
    try {
      const commit = readFileSync(join(this.folder, 'refs', revision), 'utf8').trim()
      return isCommit(commit) ? commit : undefined
    } catch {
      return undefined
    }
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit || this.commitOf(revision) === commit) return
    const path = join(this.folder, 'refs', revision)
    await this.#makeFolder(dirname(path))
    await replace(path, temporary => writeFile(temporary, commit, { flush: true }))
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit)
  }

  /** Whether a snapshot has a file, as far as the cache knows. The names must be checked ones. */
  has(commit: string, path: string): boolean | undefined {
    if (isFile(join(this.snapshot(commit), path))) return true
    return existsSync(this.#absence(commit, path)) ? false : undefined
  }

  /** Notes that a commit does not have a file, so that nobody need ask again. */
  async noteAbsent(commit: string, path: string): Promise<void> {
    const note = this.#absence(commit, path)
    if (existsSync(note)) return
    await this.#makeFolder(dirname(note))
    await writeFile(note, '')
  }

  blob(hash: string): string {
    return join(this.folder, 'blobs', hash)
  }

  hasBlob(hash: string, size: number): boolean {
    return isFile(this.blob(hash), size)
  }

  async prepare(): Promise<void> {
    await this.#makeFolder(join(this.folder, 'blobs'))
    await mkdir(this.#locks, { recursive: true })
  }

  lock(hash: string): string {
    return join(this.#locks, `${hash}.lock`)
  }

  /** Lets a snapshot have a blob under a file's name: a link or, where there can be none, a second name or a copy. */
  async addToSnapshot(commit: string, path: string, hash: string): Promise<void> {
    const blob = this.blob(hash)
    const file = join(this.snapshot(commit), path)
    await this.#makeFolder(dirname(file))
    const target = relative(dirname(file), blob)
    if ((await readlink(file).catch(() => '')) === target) return
    await replace(file, async temporary => {
      if (this.#links && (await succeeds(symlink(target, temporary)))) return
      if (this.#links && (await succeeds(link(blob, temporary)))) return
      await copyFile(blob, temporary, constants.COPYFILE_FICLONE)
      await flush(temporary)
    })
  }

  #absence(commit: string, path: string): string {
    return join(this.folder, '.no_exist', commit, path)
  }

  /** Makes a folder of this model; one that a link has led elsewhere is refused. (The model's own folder may be a link.) */
  async #makeFolder(folder: string): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    let there = folder
    while (lstatSync(there, { throwIfNoEntry: false }) === undefined) there = dirname(there)
    const [root, actual] = await Promise.all([realpath(this.folder), realpath(there)])
    if (`${actual}${sep}`.startsWith(`${root}${sep}`)) return void (await mkdir(folder, { recursive: true }))
    throw new Problem(
      'disk',
      `${there} is a link out of the cache, to ${actual}: nothing is written there; remove the link`,
    )
  }
}

/** Makes a file under another name and gives it its own when it is complete. */
async function replace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${Math.random().toString(36).slice(2, 10)}.tmp`
  try {
    await make(temporary)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

export async function flush(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

export function isFile(path: string, size?: number): boolean {
  try {
    const found = statSync(path)
    return found.isFile() && (size === undefined || found.size === size)
  } catch {
    return false // not there, a link to nowhere, a folder that may not be read
  }
}

async function succeeds(action: Promise<void>): Promise<boolean> {
  return action.then(
    () => true,
    () => false,
  )
}
