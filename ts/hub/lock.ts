import { native } from '../native.ts'
import { pause } from './backoff.ts'

const POLL = 100

/**
 * Runs a job while no other process or thread that asks for the same lock runs one. Where the file system has no locks the job
 * runs all the same, and is told that it may not be alone.
 */
export async function withLock<T>(path: string, signal: AbortSignal, job: (alone: boolean) => Promise<T>): Promise<T> {
  const { FileLock } = native()
  const lock = new FileLock(path)
  let state = lock.tryAcquire()
  while (state === 'busy') {
    await pause(POLL, signal)
    state = lock.tryAcquire()
  }
  try {
    return await job(state === 'held')
  } finally {
    lock.release()
  }
}
