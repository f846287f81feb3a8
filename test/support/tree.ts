import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PACKAGE, temporaryFolder } from './paths.ts'
import { type Ended, runNode } from './process.ts'

export const VERSION = (JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string }).version

const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
/** Of this machine; undefined where there is none. */
export const GLIBC = header.glibcVersionRuntime

/** This machine's platform, as packages are named. */
export const PLATFORM =
  process.platform === 'linux'
    ? `linux-${process.arch}-${GLIBC ? 'gnu' : 'musl'}`
    : `${process.platform}-${process.arch}${process.platform === 'win32' ? '-msvc' : ''}`

/** The binary of the package under test: this checkout's, or that of the platform's package beside an installed one. */
export function realBinary(): string {
  const name = `bert-layers.${PLATFORM}.node`
  const local = join(PACKAGE, 'native', name)
  return existsSync(local) ? local : join(PACKAGE, '..', `@bert-layers/${PLATFORM}`, name)
}

/** An empty project with the main package, without any binary, in node_modules of its own. */
export function emptyTree(version = VERSION): string {
  const folder = temporaryFolder()
  addMain(folder, version)
  return folder
}

/** The main package into the node_modules of a folder: as another version, if so wanted. */
export function addMain(folder: string, version = VERSION): void {
  const main = join(folder, 'node_modules/bert-layers')
  cpSync(join(PACKAGE, 'dist'), join(main, 'dist'), { recursive: true })
  const manifest = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as Record<string, unknown>
  writeFileSync(join(main, 'package.json'), JSON.stringify({ ...manifest, version }))
  for (const file of ['version.js', 'index.cjs']) {
    const path = join(main, 'dist', file)
    writeFileSync(path, readFileSync(path, 'utf8').replace(/VERSION = (['"])[^'"]*\1/, `VERSION = '${version}'`))
  }
}

/** A package of a platform with this as its binary; a string is the JavaScript that stands in for one. */
export function addPlatform(folder: string, platform: string, binary: Buffer | string, version = VERSION): void {
  const name = `@bert-layers/${platform}`
  const main = typeof binary === 'string' ? 'binary.cjs' : `bert-layers.${platform}.node`
  const place = join(folder, 'node_modules', name)
  mkdirSync(place, { recursive: true })
  writeFileSync(join(place, 'package.json'), JSON.stringify({ name, version, main }))
  writeFileSync(join(place, main), binary)
}

interface LoadOptions {
  env?: NodeJS.ProcessEnv
  /** Runs before the package is imported. */
  before?: string
  device?: string
  model?: string
}

/** Loads a model in a process of its own with the package of a tree; what it prints is the device, or the code and message of the error. */
export async function loadIn(folder: string, options: LoadOptions = {}): Promise<Ended> {
  const { env, before = '', device = 'auto', model } = options
  const program = `
    import { createRequire } from 'node:module'
    import { pathToFileURL } from 'node:url'
    ${before}
    const place = createRequire(${JSON.stringify(join(folder, 'program.mjs'))}).resolve('bert-layers')
    const { Encoder } = await import(pathToFileURL(place.replace(/index\\.cjs$/, 'index.js')))
    try {
      const encoder = await Encoder.fromPretrained(${JSON.stringify(model)}, { device: ${JSON.stringify(device)} })
      console.log('loaded on ' + encoder.device)
    } catch ({ code, message }) {
      console.log(code + ' ' + message)
    }`
  const outside = { BERT_LAYERS_NATIVE: '', NODE_OPTIONS: '', ...env }
  return runNode(['--input-type=module', '-e', program], { env: outside })
}
