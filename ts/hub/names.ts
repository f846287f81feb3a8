import { Problem } from './problem.ts'

/** `name` or `org/name`, as the hub allows: nothing that could lead out of the cache, or be two names in it. */
export function isHubName(name: string): boolean {
  return name.length <= 96 && /^(?:\w[\w.-]*\/)?\w[\w.-]*$/.test(name) && !/--|\.\.|[.-](?:\/|$)|\.git$/.test(name)
}

/** Whether git could have a branch or tag of this name; it becomes a path below `refs`. */
export function isRevision(revision: string): boolean {
  if (revision.length > 250 || /[\p{Cc} ~^:?*[\\]/u.test(revision)) return false
  return revision.split('/').every(part => part !== '' && !/^\.|\.\.|\.lock$|\.$/.test(part))
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision)
}

/**
 * Refuses a file's name that would lead out of the folder it is to lie in, here or on Windows.
 * The names are the repository's: anybody may have made them.
 */
export function checkFileName(path: string): void {
  const parts = path.split(/[/\\]/)
  const isSafe = parts.every(part => part !== '' && part !== '.' && part !== '..') && !/[\p{Cc}:]/u.test(path)
  if (isSafe) return
  throw new Problem(
    'broken',
    `the model has a file named ${JSON.stringify(path.slice(0, 200))}, which could lie outside its folder: refused`,
  )
}
