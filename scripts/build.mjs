#!/usr/bin/env node
/**
 * Makes this checkout a working package: native/ by cargo, dist/ by tsc and esbuild, index.d.cts.
 *
 *     node scripts/build.mjs [native | js]                    both by default
 *     node scripts/build.mjs native --target linux-arm64-musl what is published for a platform of scripts/platforms.mjs
 *
 * A platform has its features; BERT_LAYERS_FEATURES adds cargo features, such as `cuda` or `metal`. CARGO_TARGET_DIR and the like are
 * respected. Linux targets are built on any 64-bit Linux or macOS with Python's pip (scripts/cross.mjs).
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { crossCargo, linuxBinaryProblem } from './cross.mjs'
import { readElf } from './elf.mjs'
import { binaryName, PLATFORMS } from './platforms.mjs'
import { Unavailable } from './tools.mjs'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const at = (...parts) => join(ROOT, ...parts)

function fail(message) {
  console.error(`build: ${message}`)
  process.exit(1)
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', maxBuffer: 1 << 28, ...options })
  if (result.error?.code === 'ENOENT') return undefined
  if (result.error) fail(`${command}: ${result.error.message}`)
  if (result.status !== 0) fail(`\`${[command, ...args].join(' ')}\` failed`)
  return result.stdout
}

function older(version, minimum) {
  const [a, b] = [version, minimum].map(text => text.split('.').map(Number))
  return a[0] !== b[0] ? a[0] < b[0] : a[1] < b[1]
}

function checkTools(native) {
  const { engines } = JSON.parse(readFileSync(at('package.json'), 'utf8'))
  const node = engines.node.match(/\d+(\.\d+)?/)[0]
  if (older(process.versions.node, `${node}.0`))
    fail(`this needs Node.js ${node} or newer; here is ${process.versions.node}.`)
  if (!native) return
  const rust = readFileSync(at('Cargo.toml'), 'utf8').match(/^rust-version = "([\d.]+)"/m)[1]
  const found = run('rustc', ['--version'], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  if (found === undefined) fail(`this needs Rust ${rust} or newer (rustc and cargo), and none is on the PATH.`)
  const version = found.match(/\d+\.\d+/)[0]
  if (older(version, rust)) fail(`this needs Rust ${rust} or newer; here is ${version}: run 'rustup update stable'.`)
}

/** As napi-rs names platforms, such as linux-x64-gnu; ts/native.ts looks for the same name. */
function platformName() {
  const name = `${process.platform}-${process.arch}`
  if (process.platform === 'win32') return `${name}-msvc`
  if (process.platform !== 'linux') return name
  return `${name}-${process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'}`
}

/** `platform` is one of the table; without one it is built for this machine, with its own C library. */
function buildNative(platform) {
  const { command, subcommand, target, env } = platform
    ? crossCargo(platform)
    : { command: 'cargo', subcommand: 'build' }
  const args = [subcommand, '--release', '-p', 'bert-layers-node', '--message-format=json-render-diagnostics']
  if (target) args.push('--target', target)
  if (process.env.CI) args.push('--locked')
  const features = [...(platform?.features ?? []), process.env.BERT_LAYERS_FEATURES].filter(Boolean)
  if (features.length > 0) args.push('--features', features.join(','))
  const options = { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', env: { ...process.env, ...env } }
  const messages = run(command, args, options)
  if (messages === undefined) fail(`rustc is there, but ${command} is not on the PATH.`)
  // cargo says where the library is, whatever its target folder, target or platform.
  const library = messages
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line))
    .filter(({ reason, target }) => reason === 'compiler-artifact' && target.name === 'bert_layers_node')
    .flatMap(artifact => artifact.filenames)
    .find(file => /\.(so|dylib|dll)$/.test(file))
  if (!library) fail('cargo built no shared library of bert-layers-node.')

  const binary = at('native', binaryName(platform ?? { name: platformName() }))
  mkdirSync(at('native'), { recursive: true })
  // Renamed into place: a process that has the old file loaded keeps it, and none sees half a file.
  copyFileSync(library, `${binary}.new`)
  const problem = platform?.os === 'linux' && !platform.optIn && linuxBinaryProblem(`${binary}.new`, platform)
  if (problem) fail(`${binary}.new is no binary for ${platform.name}: ${problem}.`)
  renameSync(`${binary}.new`, binary)
  if (platform?.os === 'linux') {
    const { glibc, needed } = readElf(binary)
    console.log(
      `${binary}: ${statSync(binary).size} bytes, needs ${glibc ? `glibc ${glibc}: ` : ''}${needed.join(', ')}`,
    )
  }
}

async function buildJs() {
  // In their own words when they are missing, since `npm ci` is what people forget.
  const { resolve } = createRequire(import.meta.url)
  let tsc
  try {
    const manifest = resolve('typescript/package.json')
    tsc = join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin.tsc)
  } catch {
    fail('the development tools are not installed: run `npm ci` first.')
  }
  const esbuild = await import('esbuild')

  rmSync(at('dist'), { recursive: true, force: true })
  run(process.execPath, [tsc, '-p', at('tsconfig.json')])
  await esbuild.build({
    entryPoints: [at('dist', 'index.js')],
    outfile: at('dist', 'index.cjs'),
    bundle: true,
    packages: 'external',
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
    // CommonJS has no import.meta.url; the bundle lies beside index.js, so relative URLs stay true.
    define: { 'import.meta.url': '__moduleUrl' },
    banner: { js: "const __moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
  })
  copyFileSync(at('index.d.ts'), at('index.d.cts'))
  chmodSync(at('dist', 'cli.js'), 0o755)
}

let values, positionals
try {
  ;({ values, positionals } = parseArgs({ options: { target: { type: 'string' } }, allowPositionals: true }))
} catch (error) {
  fail(error.message)
}
const [only, ...rest] = positionals
if (rest.length > 0 || (only !== undefined && only !== 'native' && only !== 'js'))
  fail(`unknown argument '${rest[0] ?? only}': native, js, or nothing for both.`)
const platform = PLATFORMS.find(({ name }) => name === values.target)
if (values.target !== undefined && !platform)
  fail(`no platform is called '${values.target}': ${PLATFORMS.map(({ name }) => name).join(', ')}.`)
if (platform && only !== 'native') fail('--target is for native: dist/ is the same on all platforms.')

checkTools(only !== 'js')
try {
  if (only !== 'js') buildNative(platform)
} catch (error) {
  if (!(error instanceof Unavailable)) throw error
  fail(error.message)
}
if (only !== 'native') await buildJs()
