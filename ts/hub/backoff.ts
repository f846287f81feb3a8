import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from './problem.ts'

const FIRST_WAIT = 250
const LONGEST_WAIT = 8_000
/** A hub that wants more patience than this gets none: the caller should decide. */
const LONGEST_ASKED_WAIT = 60_000

/** Waits between tries: twice as long each time, or as long as the hub asks. */
export class Backoff {
  readonly #tries: number
  readonly #signal: AbortSignal
  #failures = 0

  constructor(tries: number, signal: AbortSignal) {
    this.#tries = tries
    this.#signal = signal
  }

  /** Something arrived: what failed before does not count any more. */
  progressed(): void {
    this.#failures = 0
  }

  /** Waits for the next try, or throws what went wrong if there should be none. */
  async next(error: unknown): Promise<void> {
    this.#signal.throwIfAborted()
    if (!(error instanceof Problem && error.isPassing) || ++this.#failures >= this.#tries) throw error
    if (error.wait !== undefined && error.wait > LONGEST_ASKED_WAIT) throw error
    // Not all at the same moment, where many were cut off together.
    const wait = Math.min(FIRST_WAIT * 2 ** (this.#failures - 1), LONGEST_WAIT) * (0.5 + Math.random() / 2)
    await pause(error.wait ?? wait, this.#signal)
  }

  /** Runs the job until it goes well. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await job()
      } catch (error) {
        await this.next(error)
      }
    }
  }
}

/** Sleeps; rejects with the signal's reason when it fires. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
}
