#!/usr/bin/env node
/**
 * Makes this checkout a working package: native/ by cargo, dist/ by tsc and esbuild, index.d.cts.
 *
 *     node scripts/build.mjs [native | js]        both by default
 *
 * BERT_LAYERS_FEATURES: cargo features, such as `cuda` or `metal`. CARGO_TARGET_DIR and the like are respected.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

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

function buildNative() {
  const args = ['build', '--release', '-p', 'bert-layers-node', '--message-format=json-render-diagnostics']
  if (process.env.CI) args.push('--locked')
  if (process.env.BERT_LAYERS_FEATURES) args.push('--features', process.env.BERT_LAYERS_FEATURES)
  const messages = run('cargo', args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  if (messages === undefined) fail('rustc is there, but cargo is not on the PATH.')
  // cargo says where the library is, whatever its target folder, target or platform.
  const library = messages
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line))
    .filter(({ reason, target }) => reason === 'compiler-artifact' && target.name === 'bert_layers_node')
    .flatMap(artifact => artifact.filenames)
    .find(file => /\.(so|dylib|dll)$/.test(file))
  if (!library) fail('cargo built no shared library of bert-layers-node.')

  const target = at('native', `bert-layers.${platformName()}.node`)
  mkdirSync(at('native'), { recursive: true })
  // Renamed into place: a process that has the old file loaded keeps it, and none sees half a file.
  copyFileSync(library, `${target}.new`)
  renameSync(`${target}.new`, target)
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

const only = process.argv[2]
if (only !== undefined && only !== 'native' && only !== 'js')
  fail(`unknown argument '${only}': native, js, or nothing for both.`)
checkTools(only !== 'js')
if (only !== 'js') buildNative()
if (only !== 'native') await buildJs()
