import { resolve } from 'node:path'
import type { NativeBinding } from './binding.ts'
import { type Cuda, findCuda } from './cuda.ts'
import { BertLayersError, unwrap } from './errors.ts'
import { adviceOn, adviceOnCuda } from './native-advice.ts'
import { describeHost, host, platformName } from './platform.ts'
import { type Candidate, fileCandidate, firstLine, localCandidate, packageCandidate } from './prebuilt.ts'

let binding: NativeBinding | undefined

/** The native module. Loaded when it is first needed, so that importing this package never throws. */
export function native(): NativeBinding {
  binding ??= load()
  return binding
}

/**
 * The native module to load a model with: the one with CUDA where it is installed, wanted and works, else the ordinary one.
 * Rejects where the device that was asked for by name is in neither, before any work is done.
 */
export async function nativeFor(device: string): Promise<NativeBinding> {
  const [kind = device] = device.split(':')
  const wantsCuda = (kind === 'auto' || kind === 'cuda') && !process.env.BERT_LAYERS_NATIVE
  const cuda: Cuda = wantsCuda ? await findCuda(recallOf) : {}
  if (cuda.binding) return cuda.binding
  const ordinary = native()
  if (kind === 'auto' || kind === 'cpu' || unwrap(ordinary.about()).devices.includes(kind)) return ordinary
  throw new BertLayersError('ERR_DEVICE_UNAVAILABLE', unavailable(device, kind, cuda))
}

/** Why there is no binary, and what to do. */
export function describeFailure(tried: readonly Candidate[]): string {
  const here = host()
  const attempts = tried.map(({ source, problem }) => `  ${source}: ${problem?.reason}\n`)
  return (
    `no native module of bert-layers could be loaded for ${platformName(here)} (${describeHost(here)}, Node.js ${process.versions.node}). ` +
    `Tried:\n${attempts.join('')}${adviceOn(tried, here)}`
  )
}

function load(): NativeBinding {
  const tried = candidates()
  for (const candidate of tried) {
    if (candidate.problem) continue
    try {
      return candidate.load()
    } catch (error) {
      candidate.problem = { kind: 'load', reason: firstLine(error) }
    }
  }
  throw new BertLayersError('ERR_INTERNAL', describeFailure(tried))
}

/** What may be loaded, in order. */
export function candidates(): Candidate[] {
  const chosen = process.env.BERT_LAYERS_NATIVE
  if (chosen) return [fileCandidate(resolve(chosen))]
  const platform = platformName()
  return [localCandidate(platform), packageCandidate(platform)]
}

/** What all threads of this process share; nothing where no ordinary binary loads. */
function recallOf(): Pick<NativeBinding, 'recall' | 'remember'> | undefined {
  try {
    return native()
  } catch {
    return undefined
  }
}

function unavailable(device: string, kind: string, cuda: Cuda): string {
  if (kind === 'cuda') return `device '${device}' is not available: ${adviceOnCuda(cuda)}`
  const why =
    host().os === 'darwin' ? 'this binary was built without it' : `it is for macOS, and this is ${describeHost()}`
  return `device '${device}' is not available: ${why}; use 'auto' or 'cpu'`
}
