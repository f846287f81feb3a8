import type { NativeOverflow } from './binding.ts'
import { invalidInput } from './errors.ts'
import { checkCount, checkKeys, describe, isObject } from './validate.ts'

const FORMS =
  "'error', 'truncate', 'window', { truncate, head? }, { window: { size?, stride?, merge? } } or { sample: { windows, seed } }"
const KEYS = ['truncate', 'head', 'window', 'sample']
const ENDS = ['head', 'tail', 'head+tail'] as const
const MERGES = ['center', 'mean'] as const

/** What to do with texts that are too long; numbers are checked against the model by Rust. */
export function readOverflow(value: unknown): NativeOverflow {
  if (value === undefined || value === 'error') return { kind: 'error' }
  if (value === 'truncate') return { kind: 'head' }
  if (value === 'window') return { kind: 'window' }
  if (!isObject(value)) throw invalidInput(`option overflow must be ${FORMS}, not ${describe(value)}`)
  const { truncate, head, window, sample } = checkKeys(value, KEYS, 'option overflow: the field')
  const given = [truncate, window, sample].filter(form => form !== undefined)
  if (given.length !== 1) throw invalidInput(`option overflow must have one of truncate, window and sample: ${FORMS}`)
  if (head !== undefined && truncate !== 'head+tail') {
    throw invalidInput("option overflow: head goes with truncate: 'head+tail' only")
  }
  if (truncate !== undefined) return readTruncate(truncate, head)
  return window === undefined ? readSample(sample) : readWindow(window)
}

function readTruncate(truncate: unknown, head: unknown): NativeOverflow {
  const kind = ENDS.find(end => end === truncate)
  if (kind === undefined) {
    throw invalidInput(`option overflow: truncate must be one of ${ENDS.join(', ')}, not ${describe(truncate)}`)
  }
  return head === undefined ? { kind } : { kind, head: checkCount(head, 'option overflow: head', 0) }
}

function readWindow(value: unknown): NativeOverflow {
  if (!isObject(value)) throw invalidInput(`option overflow: window must be an object, not ${describe(value)}`)
  const { size, stride, merge } = checkKeys(value, ['size', 'stride', 'merge'], 'option overflow: window: the field')
  const overflow: NativeOverflow = { kind: 'window' }
  if (size !== undefined) overflow.size = checkCount(size, 'option overflow: size', 1)
  if (stride !== undefined) overflow.stride = checkCount(stride, 'option overflow: stride', 1)
  if (merge === undefined) return overflow
  if (MERGES.every(known => known !== merge)) {
    throw invalidInput(`option overflow: merge must be 'center' or 'mean', not ${describe(merge)}`)
  }
  return { ...overflow, mean: merge === 'mean' }
}

function readSample(value: unknown): NativeOverflow {
  if (!isObject(value)) throw invalidInput(`option overflow: sample must be { windows, seed }, not ${describe(value)}`)
  const { windows, seed } = checkKeys(value, ['windows', 'seed'], 'option overflow: sample: the field')
  return {
    kind: 'sample',
    windows: checkCount(windows, 'option overflow: windows', 1),
    seed: checkCount(seed, 'option overflow: seed', 0, Number.MAX_SAFE_INTEGER),
  }
}
