import type { NativeBinding } from './binding.ts'
import { platformName } from './platform.ts'
import {
  type Candidate,
  CUDA,
  firstLine,
  localCandidate,
  type Problem,
  packageCandidate,
  prebuiltPlatforms,
} from './prebuilt.ts'
import { probe } from './probe.ts'

/** What became of the binary with CUDA. All empty: it was not looked for. */
export interface Cuda {
  binding?: NativeBinding
  /** Those that could be loaded as far as was known before; none: not installed, or there is none for this platform. */
  tried?: Candidate[]
}

type Notes = Pick<NativeBinding, 'recall' | 'remember'>

let search: Promise<Cuda> | undefined

/** Looks for the binary with CUDA, once: what was found holds for the process, since a driver does not come or go. */
export function findCuda(notes: () => Notes | undefined): Promise<Cuda> {
  search ??= lookForCuda(notes)
  return search
}

/** What may be loaded, in order. */
export function cudaCandidates(): Candidate[] {
  const platform = `${platformName()}${CUDA}`
  if (!prebuiltPlatforms(true).includes(platform)) return []
  return [localCandidate(platform), packageCandidate(platform)].filter(({ problem }) => problem?.kind !== 'missing')
}

async function lookForCuda(notes: () => Notes | undefined): Promise<Cuda> {
  const tried = cudaCandidates()
  for (const candidate of tried) {
    const problem = candidate.problem ?? (await tryOut(candidate.file!, notes()))
    if (problem) {
      candidate.problem = problem
      continue
    }
    try {
      return { binding: candidate.load(), tried }
    } catch (error) {
      candidate.problem = { kind: 'load', reason: firstLine(error) }
    }
  }
  return { tried }
}

/** What is wrong with a binary here, or undefined; asked of a process of its own once, and of its answer by worker threads after that. */
async function tryOut(file: string, notes: Notes | undefined): Promise<Problem | undefined> {
  const name = `probe ${file}`
  const known = notes?.recall(name) ?? undefined
  const reason = known ?? (await probe(file, ['cuda'])).problem ?? ''
  if (known === undefined) notes?.remember(name, reason)
  return reason === '' ? undefined : { kind: 'load', reason }
}
