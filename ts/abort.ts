import type { CancelFlag } from './binding.ts'

/**
 * The flags of the calls under way. A flag that is collected stops its call (so that the calls of a terminated worker end):
 * each must live as long as its call does.
 */
const underWay = new Set<CancelFlag>()

/** What to do when a signal fires. One listener a signal: Node warns of a leak when a signal has more than ten. */
const callsOf = new WeakMap<AbortSignal, Set<() => void>>()

export function listen(signal: AbortSignal, onAbort: () => void): void {
  const calls = callsOf.get(signal) ?? new Set()
  if (calls.size === 0) signal.addEventListener('abort', fire, { once: true })
  callsOf.set(signal, calls.add(onAbort))
}

export function unlisten(signal: AbortSignal, onAbort: () => void): void {
  const calls = callsOf.get(signal)
  if (calls?.delete(onAbort) && calls.size === 0) signal.removeEventListener('abort', fire)
}

function fire(this: AbortSignal): void {
  for (const onAbort of callsOf.get(this) ?? []) onAbort()
}

/**
 * Settles as `work` does, unless the signal fires first: then Rust is told to stop and the promise rejects with the signal's
 * reason at once, without waiting for it. The signal's `onabort` is its owner's; no listener is left behind.
 */
export function abortable<T>(signal: AbortSignal | undefined, cancel: CancelFlag, work: Promise<T>): Promise<T> {
  underWay.add(cancel)
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      cancel.cancel()
      reject(signal?.reason)
    }
    if (signal) listen(signal, onAbort)
    work.then(resolve, reject).finally(() => {
      if (signal) unlisten(signal, onAbort)
      underWay.delete(cancel)
    })
  })
}
