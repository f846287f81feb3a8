import type { ErrorCode } from '../../index.d.ts'

/**
 * - network: no connection, or it was cut; busy: the hub says to come later (408, 429, 5xx). Both are tried again.
 * - denied: 401, 403. missing: no such repository or file. broken: an answer that a hub does not give.
 *   These and the two above leave the cache to fall back on.
 * - revision: the repository has no such revision. disk: the cache cannot be written. defect: of this package. These are final.
 */
export type ProblemKind = 'network' | 'busy' | 'denied' | 'missing' | 'broken' | 'revision' | 'disk' | 'defect'

/** Why something could not be had from the hub. Inside ts/hub only: users get a BertLayersError of it. */
export class Problem extends Error {
  readonly kind: ProblemKind
  /** What the hub asks to wait before the next try, in milliseconds. */
  readonly wait: number | undefined

  constructor(kind: ProblemKind, message: string, options: { cause?: unknown; wait?: number | undefined } = {}) {
    super(message, options)
    this.kind = kind
    this.wait = options.wait
  }

  get code(): ErrorCode {
    if (this.kind === 'defect') return 'ERR_INTERNAL'
    return this.kind === 'missing' || this.kind === 'revision' ? 'ERR_MODEL_NOT_FOUND' : 'ERR_DOWNLOAD'
  }

  /** Whether the same request may go well later. */
  get isPassing(): boolean {
    return this.kind === 'network' || this.kind === 'busy'
  }
}

/** What the system says of a file that could not be written or read. */
export function diskProblem(error: unknown, path: string): Problem {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new Problem(
      'disk',
      `the disk is full while writing ${path}: make room, or name another cache with cacheDir or HF_HUB_CACHE`,
    )
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new Problem(
      'disk',
      `${path} cannot be written (${code}): make it writable, or name another cache with cacheDir or HF_HUB_CACHE`,
    )
  }
  return new Problem('disk', `the cache cannot be used: ${message}`, { cause: error })
}

/** Runs what reads or writes files; what the system says against it becomes a problem of the disk. */
export async function onDisk<T>(path: string, job: () => Promise<T>): Promise<T> {
  try {
    return await job()
  } catch (error) {
    throw error instanceof Error && 'syscall' in error ? diskProblem(error, path) : error
  }
}

/** Whatever was thrown, as a problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof Error && 'syscall' in error)
    return diskProblem(error, String((error as NodeJS.ErrnoException).path))
  return new Problem('defect', `the download failed in a way that it should not: ${String(error)}`, { cause: error })
}
