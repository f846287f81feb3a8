#!/usr/bin/env node
/**
 * Builds native/bert-layers.linux-x64-gnu-cuda.node on any x64 Linux with glibc, no GPU, no driver and no installed CUDA needed.
 *
 *     node scripts/build-cuda.mjs            the compiler if it is not there yet, the binary, and what it needs where it is loaded
 *     node scripts/build-cuda.mjs toolkit    the compiler and its libraries only
 *     node scripts/build-cuda.mjs env        `export` lines for a shell that runs cargo itself: eval "$(node scripts/build-cuda.mjs env)"
 *     node scripts/build-cuda.mjs gpu        target/release/examples/gpu, the program that checks and measures on a GPU
 *     node scripts/build-cuda.mjs check      what the binary needs, and that candle's kernels assemble for every SASS
 *
 * CUDA's compiler and libraries come as PyPI wheels, about 1.2 GB, into $BERT_LAYERS_CUDA (default ~/.cache/bert-layers/cuda-13.0).
 * Candle's kernels are PTX for compute capability 8.0, which the driver compiles for the GPU that it finds, once; ours are machine code
 * for 8.0 and 9.0 in one file, and PTX for what comes later.
 */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compareVersions, readElf } from './elf.mjs'
import { binaryName, PLATFORMS } from './platforms.mjs'

/** The compiler, its parts, and the libraries that candle links. */
const WHEELS = [
  'nvidia-cuda-nvcc==13.0.88',
  'nvidia-cuda-crt==13.0.88',
  'nvidia-nvvm==13.0.88',
  'nvidia-cuda-runtime==13.0.96',
  'nvidia-cuda-nvrtc==13.0.88',
  'nvidia-cuda-cccl==13.0.85',
  'nvidia-cublas==13.0.2.14',
  'nvidia-curand==10.4.0.35',
]
/** Wheels have libraries with their version only; the linker looks for names without. */
const LIBRARIES = ['libcublas.so.13', 'libcublasLt.so.13', 'libcudart.so.13', 'libcurand.so.10', 'libnvrtc.so.13']
/** What the binary may need where it is loaded: the driver's, CUDA's and those of any Linux. */
const NEEDED =
  /^(libcuda\.so\.1|libcublas\.so\.13|libcublasLt\.so\.13|libcurand\.so\.10|lib(c|m|gcc_s|dl|rt|pthread|stdc\+\+)\.so\.\d+|ld-linux-x86-64\.so\.2)$/
/** That of the machine on which the workflow builds, Ubuntu 22.04. */
const GLIBC = '2.35'
/** What candle's PTX is compiled for, and everything that it is assembled for to see that it can be. */
const CAPABILITY = '80'
const ASSEMBLED = ['sm_80', 'sm_90']

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const CACHE = process.env.BERT_LAYERS_CUDA ?? join(homedir(), '.cache', 'bert-layers', 'cuda-13.0')
const HOME = join(CACHE, 'nvidia', 'cu13')
const PLATFORM = PLATFORMS.find(({ name }) => name === 'linux-x64-gnu-cuda')
const BINARY = join(ROOT, 'native', binaryName(PLATFORM))

function fail(message) {
  console.error(`build-cuda: ${message}`)
  process.exit(1)
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    maxBuffer: 1 << 28,
    ...options,
  })
  if (result.error) fail(`${command}: ${result.error.message}`)
  if (result.status !== 0) fail(`\`${[command, ...args].join(' ')}\` failed`)
  return result.stdout
}

const read = (command, args, options = {}) =>
  run(command, args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', ...options })

/** What cargo and the build scripts of candle, cudarc and crates/cuda read. */
function environment() {
  const path = `${join(HOME, 'bin')}:${process.env.PATH}`
  return { CUDA_HOME: HOME, CUDA_COMPUTE_CAP: CAPABILITY, NVCC: join(HOME, 'bin', 'nvcc'), PATH: path }
}

/** The wheels, whole or not at all: they are unpacked beside their place and moved there. */
function fetchToolkit() {
  const wheels = WHEELS.join('\n')
  const stamp = join(CACHE, 'wheels.txt')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wheels) return
  const place = `${CACHE}.new`
  rmSync(place, { recursive: true, force: true })
  mkdirSync(dirname(place), { recursive: true })
  const python = process.env.PYTHON ?? 'python3'
  run(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary=:all:', '--target', place, ...WHEELS], {
    stdio: ['ignore', 2, 'inherit'],
  })
  writeFileSync(join(place, 'wheels.txt'), wheels)
  rmSync(CACHE, { recursive: true, force: true })
  renameSync(place, CACHE)
}

/** Links without versions, and a libcuda.so to link with: the real one comes with a GPU's driver. */
function completeToolkit() {
  for (const library of LIBRARIES) {
    const link = join(HOME, 'lib', library.replace(/\.so\..*/, '.so'))
    rmSync(link, { force: true })
    symlinkSync(library, link)
  }
  const metadata = JSON.parse(
    read('cargo', ['metadata', '--format-version', '1', '--locked', '--features', 'bert-layers/cuda']),
  )
  const cudarc = metadata.packages.find(({ name }) => name === 'cudarc')
  const declared = readFileSync(join(dirname(cudarc.manifest_path), 'src', 'driver', 'sys', 'mod.rs'), 'utf8')
  const names = [...new Set(declared.match(/\bcu[A-Z]\w*(?=\s*\()/g))]
  if (names.length < 100) fail(`cudarc declares ${names.length} functions of the driver: its sources have changed`)
  mkdirSync(join(HOME, 'lib', 'stubs'), { recursive: true })
  const folder = mkdtempSync(join(tmpdir(), 'libcuda-'))
  const source = join(folder, 'stub.c')
  writeFileSync(source, names.map(name => `void ${name}(void) {}\n`).join(''))
  const stub = join(HOME, 'lib', 'stubs', 'libcuda.so')
  run('cc', ['-shared', '-fPIC', '-Wl,-soname,libcuda.so.1', '-o', stub, source])
  rmSync(folder, { recursive: true })
}

function toolkit() {
  if (process.platform !== 'linux' || process.arch !== 'x64') fail('this is for x64 Linux')
  fetchToolkit()
  completeToolkit()
}

/** Builds with cargo and says where the artifact of that name is. */
function cargo(args, artifact) {
  const features = ['--release', '--message-format=json-render-diagnostics', ...(process.env.CI ? ['--locked'] : [])]
  const env = { ...process.env, ...environment() }
  const messages = read('cargo', ['build', ...args, ...features], { env })
  const files = messages
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line))
    .filter(({ reason, target }) => reason === 'compiler-artifact' && target.name === artifact)
    .flatMap(({ executable, filenames }) => (executable ? [executable] : filenames))
  return files.find(file => /\.so$/.test(file)) ?? files[0] ?? fail(`cargo built no ${artifact}`)
}

function native() {
  const library = cargo(['-p', 'bert-layers-node', '--features', 'cuda'], 'bert_layers_node')
  mkdirSync(dirname(BINARY), { recursive: true })
  copyFileSync(library, `${BINARY}.new`)
  renameSync(`${BINARY}.new`, BINARY)
}

function check() {
  const { needed, glibc, nodelete } = readElf(BINARY)
  const strange = needed.filter(name => !NEEDED.test(name))
  console.log(`${BINARY}: ${statSync(BINARY).size} bytes\nneeds glibc ${glibc}, ${needed.join(' ')}`)
  if (strange.length > 0) fail(`it should not need ${strange.join(', ')}`)
  const missing = ['libcuda.so.1', 'libcublas.so.13'].filter(name => !needed.includes(name))
  if (missing.length > 0) fail(`it does not need ${missing.join(', ')}: was it built with CUDA?`)
  if (compareVersions(glibc, GLIBC) > 0) fail(`it needs glibc ${glibc}, newer than ${GLIBC}`)
  if (!nodelete) fail('it would be unloaded with the last worker thread that uses it (no -z nodelete)')
  const built = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'release', 'build')
  const modules = readdirSync(built)
    .filter(name => name.startsWith('candle-kernels-'))
    .map(name => join(built, name, 'out'))
    .filter(existsSync)
    .flatMap(folder =>
      readdirSync(folder)
        .filter(name => name.endsWith('.ptx'))
        .map(name => join(folder, name)),
    )
  if (modules.length === 0) fail("candle's kernels are not there")
  for (const arch of ASSEMBLED)
    for (const module of modules) run(join(HOME, 'bin', 'ptxas'), [`-arch=${arch}`, '-o', '/dev/null', module])
  console.log(`${modules.length} modules of candle assemble for ${ASSEMBLED.join(' and ')}`)
}

const what = process.argv[2] ?? 'all'
const steps = {
  all: () => {
    toolkit()
    native()
    check()
  },
  toolkit,
  env: () => {
    toolkit()
    for (const [name, value] of Object.entries(environment())) console.log(`export ${name}='${value}'`)
  },
  gpu: () => {
    toolkit()
    console.log(cargo(['-p', 'bert-layers', '--example', 'gpu', '--features', 'cuda'], 'gpu'))
  },
  check,
}
if (!steps[what]) fail(`unknown step '${what}': ${Object.keys(steps).join(', ')}`)
steps[what]()
