import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { NativeBinding } from './binding.ts'
import { BertLayersError } from './errors.ts'
import { VERSION } from './version.ts'

/** A binary that may be loaded, and why not if that is known before. */
export interface Candidate {
  /** What messages call it. */
  source: string
  /** Undefined where there is no file. */
  file?: string
  problem?: Problem
  load(): NativeBinding
}

export interface Problem {
  kind: 'missing' | 'version' | 'load'
  reason: string
}

/** An installed package, as this one sees it. */
export interface Installed {
  version: string
  folder: string
}

/**
 * What loads each prebuilt package, by platform. Tools that trace what a program needs (Next.js) follow a `require` made so, with the whole
 * name in the call; test/platforms.test.ts compares the table with scripts/platforms.mjs.
 */
function loaders(): Record<string, () => unknown> {
  checkPlace()
  const require = createRequire(import.meta.url)
  return {
    'linux-x64-gnu': () => require('@bert-layers/linux-x64-gnu'),
    'linux-arm64-gnu': () => require('@bert-layers/linux-arm64-gnu'),
    'linux-x64-musl': () => require('@bert-layers/linux-x64-musl'),
    'linux-arm64-musl': () => require('@bert-layers/linux-arm64-musl'),
    'darwin-arm64': () => require('@bert-layers/darwin-arm64'),
    'darwin-x64': () => require('@bert-layers/darwin-x64'),
    'win32-x64-msvc': () => require('@bert-layers/win32-x64-msvc'),
    'win32-arm64-msvc': () => require('@bert-layers/win32-arm64-msvc'),
    'linux-x64-gnu-cuda': () => require('@bert-layers/linux-x64-gnu-cuda'),
    'win32-x64-msvc-cuda': () => require('@bert-layers/win32-x64-msvc-cuda'),
  }
}

export const CUDA = '-cuda'

/** The platforms there are packages for: those with CUDA, or those without. */
export function prebuiltPlatforms(cuda = false): string[] {
  return Object.keys(loaders()).filter(platform => platform.endsWith(CUDA) === cuda)
}

export function packageName(platform: string): string {
  return `@bert-layers/${platform}`
}

/** A package that is installed where this one finds it: in its own node_modules or in those of a folder above. */
export function findInstalled(name: string): Installed | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
    return { version, folder: dirname(manifest) }
  } catch {
    return undefined
  }
}

/** Whether this code was copied into a program by a bundler: then nothing is where it belongs. */
export function isBundled(): boolean {
  try {
    const manifest = readFileSync(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8')
    return (JSON.parse(manifest) as { name?: string }).name !== 'bert-layers'
  } catch {
    return true
  }
}

/** What to say of that. */
export const BUNDLED =
  'bert-layers was copied into this program by a bundler, and a binary cannot be: leave bert-layers out of the bundle ' +
  "(esbuild: --external:bert-layers; Next.js: serverExternalPackages: ['bert-layers']) and install it beside the program."

/** A bundle of CommonJS does not know where it is, so nothing can be found from there. */
function checkPlace(): void {
  if ((import.meta.url as string | undefined) === undefined) throw new BertLayersError('ERR_INTERNAL', BUNDLED)
}

/** A binary by its absolute path. */
export function fileCandidate(file: string): Candidate {
  const load = () => createRequire(file)(file) as NativeBinding
  if (existsSync(file)) return { source: file, file, load }
  return { source: file, problem: { kind: 'missing', reason: 'there is no such file' }, load }
}

/** What `npm run build` makes in a clone; an installed package has none. */
export function localCandidate(platform: string): Candidate {
  checkPlace()
  return fileCandidate(fileURLToPath(new URL(`../native/bert-layers.${platform}.node`, import.meta.url)))
}

/** The package of a platform: only of this version, since what the two say to each other changes. */
export function packageCandidate(platform: string): Candidate {
  const name = packageName(platform)
  const load = () => loaders()[platform]!() as NativeBinding
  const found = findInstalled(name)
  if (found === undefined) return { source: name, problem: { kind: 'missing', reason: 'it is not installed' }, load }
  const { version, folder } = found
  const source = `${name} ${version} in ${folder}`
  if (version !== VERSION) {
    const reason = `it is version ${version}, and this is bert-layers ${VERSION}`
    return { source, problem: { kind: 'version', reason }, load }
  }
  try {
    return { source, file: createRequire(import.meta.url).resolve(name), load }
  } catch (error) {
    return { source, problem: { kind: 'load', reason: firstLine(error) }, load }
  }
}

export function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.split('\n', 1)[0] ?? ''
}
