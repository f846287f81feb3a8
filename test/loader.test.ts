import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { build } from 'esbuild'
import { describe, expect, test } from 'vitest'
import type { NativeBinding } from '../ts/binding.ts'
import type * as Probe from '../ts/probe.ts'
import { sharedLibrary } from './support/elf.ts'
import { goldenFolder, PACKAGE, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { addMain, addPlatform, emptyTree, GLIBC, loadIn, PLATFORM, realBinary, VERSION } from './support/tree.ts'

const MODEL = goldenFolder('bert')
const NAME = `@bert-layers/${PLATFORM}`
const CUDA = `${PLATFORM}-cuda`
const ON_GLIBC = GLIBC !== undefined && ['x64', 'arm64'].includes(process.arch)
const HAS_CUDA_PACKAGE = ['linux-x64-gnu', 'win32-x64-msvc'].includes(PLATFORM)
/** Stands in for a C library that is not this machine's. */
const ON_MUSL = `process.report.getReport = () => ({ header: {} })`

/** A program in JavaScript that is the real binary. */
const REAL = `module.exports = require(${JSON.stringify(realBinary())})`

async function failureIn(folder: string, options?: Parameters<typeof loadIn>[1]): Promise<string> {
  const { stdout, stderr } = await loadIn(folder, { model: MODEL, ...options })
  expect(stderr).toBe('')
  expect(stdout).toMatch(/^ERR_/)
  return stdout
}

describe('the binary of a platform', () => {
  test('is found in its package', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, readFileSync(realBinary()))
    const { stdout, stderr } = await loadIn(folder, { model: MODEL })
    expect(stdout + stderr).toBe('loaded on cpu\n')
  })

  test('that was left out: npm did not install optional dependencies', async () => {
    const said = await failureIn(emptyTree())
    expect(said).toMatch(/^ERR_INTERNAL no native module of bert-layers could be loaded for /)
    expect(said).toContain(`native/bert-layers.${PLATFORM}.node: there is no such file`)
    expect(said).toContain(`${NAME}: it is not installed`)
    expect(said).toMatch(/--omit=optional or --no-optional.*package-lock\.json was made on another platform/)
    expect(said).toContain(`run 'npm install ${NAME}@${VERSION}'`)
  })

  test('is not missed before it is needed: importing never throws', async () => {
    const folder = emptyTree()
    for (const [file, how] of [
      ['index.js', 'await import'],
      ['index.cjs', 'require'],
    ] as const) {
      const path = JSON.stringify(join(folder, 'node_modules/bert-layers/dist', file))
      const program = `(async () => console.log(Object.keys(${how}(${path})).includes('Encoder')))()`
      expect(await runNode(['-e', program])).toMatchObject({ stdout: 'true\n', stderr: '', code: 0 })
    }
  })

  test('is for another system: node_modules was copied', async () => {
    const folder = emptyTree()
    const other = PLATFORM === 'darwin-x64' ? 'darwin-arm64' : 'darwin-x64'
    addPlatform(folder, other, '')
    const said = await failureIn(folder)
    expect(said).toMatch(new RegExp(`is installed is for ${other}: node_modules was made on another system.*'npm ci'`))
  })

  test.runIf(ON_GLIBC)('is for the other C library, in either direction', async () => {
    const [gnu, musl] = [`linux-${process.arch}-gnu`, `linux-${process.arch}-musl`]
    const onGlibc = emptyTree()
    addPlatform(onGlibc, musl, '')
    expect(await failureIn(onGlibc)).toMatch(
      new RegExp(`is installed is for ${musl}; this Node\\.js uses glibc.*'npm ci'`),
    )
    const onMusl = emptyTree()
    addPlatform(onMusl, gnu, '')
    expect(await failureIn(onMusl, { before: ON_MUSL })).toMatch(
      new RegExp(`for ${musl} .*is installed is for ${gnu}; this Node\\.js uses musl.*'npm ci'`, 's'),
    )
  })

  test.runIf(ON_GLIBC)('is for musl inside, whatever its name', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, sharedLibrary({ library: 'libc.musl-x86_64.so.1' }))
    const said = await failureIn(folder)
    expect(said).toContain('libc.musl-x86_64.so.1: cannot open shared object file')
    expect(said).toMatch(/This binary is for musl, and this Node\.js uses glibc: .*'npm ci'/)
  })

  test.runIf(ON_GLIBC)('needs a newer glibc: says which, and which is here', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, sharedLibrary({ library: 'libc.so.6', version: 'GLIBC_9.99' }))
    const said = await failureIn(folder)
    expect(said).toContain("version `GLIBC_9.99' not found")
    expect(said).toContain(`This binary needs glibc 9.99 or newer, and here is glibc ${GLIBC}: `)
  })

  test('is damaged', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, Buffer.from('not a binary at all, whatever the system'.repeat(100)))
    expect(await failureIn(folder)).toMatch(/damaged.*'npm ci'/)
  })

  test('is forbidden by Node.js', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, readFileSync(realBinary()))
    expect(await failureIn(folder, { env: { NODE_OPTIONS: '--no-addons' } })).toMatch(/without --no-addons/)
  })

  test('does not exist for this platform: says which there are', async () => {
    const before = `Object.defineProperty(process, 'platform', { value: 'freebsd' })`
    const said = await failureIn(emptyTree(), { before })
    expect(said).toMatch(/There is no prebuilt package for freebsd-\w+; there are: linux-x64-gnu, .*win32-arm64-msvc\./)
    expect(said).toMatch(/clone.*npm run build/)
  })

  test('named by BERT_LAYERS_NATIVE is the only one tried', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, readFileSync(realBinary()))
    const said = await failureIn(folder, { env: { BERT_LAYERS_NATIVE: '/no/such/file.node' } })
    expect(said).toMatch(/\/no\/such\/file\.node: there is no such file\n.*unset it/s)
    expect(said).not.toContain(NAME)
    const env = { BERT_LAYERS_NATIVE: realBinary() }
    expect((await loadIn(emptyTree(), { model: MODEL, env })).stdout).toBe('loaded on cpu\n')
  })

  test.each(['cjs', 'esm'] as const)('was left behind by a bundler that makes %s', async format => {
    const outfile = join(temporaryFolder(), format === 'cjs' ? 'bundle.cjs' : 'bundle.mjs')
    const contents = `
      import { Encoder } from 'bert-layers'
      Encoder.fromPretrained(${JSON.stringify(MODEL)}).catch(({ code, message }) => console.log(code + ' ' + message))`
    const stdin = { contents, resolveDir: join(PACKAGE, 'dist') }
    await build({
      stdin,
      outfile,
      format,
      bundle: true,
      platform: 'node',
      logLevel: 'silent',
      // What undici, which is CommonJS, asks for.
      banner:
        format === 'esm'
          ? { js: "import { createRequire as make } from 'node:module'; const require = make('/')" }
          : {},
    })
    const { stdout, stderr } = await runNode([outfile], { env: { BERT_LAYERS_NATIVE: '' } })
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^ERR_INTERNAL .*--external:bert-layers.*serverExternalPackages/s)
    const { stdout: named } = await runNode([outfile], { env: { BERT_LAYERS_NATIVE: realBinary() } })
    expect(named).toBe('')
  })

  test('the default model is not installed', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, REAL)
    const { stdout } = await loadIn(folder, { before: `process.chdir(${JSON.stringify(folder)})` })
    expect(stdout).toMatch(/^ERR_MODEL_NOT_FOUND .*npm install @bert-layers\/all-minilm-l6-v2/)
  })
})

describe('two versions in one tree', () => {
  test('each finds the package of its own', async () => {
    const outer = emptyTree()
    addPlatform(outer, PLATFORM, `${REAL}; console.log('${VERSION}')`)
    const inner = join(outer, 'node_modules/other')
    addMain(inner, '7.7.7')
    addPlatform(inner, PLATFORM, `${REAL}; console.log('7.7.7')`, '7.7.7')
    expect((await loadIn(outer, { model: MODEL })).stdout).toBe(`${VERSION}\nloaded on cpu\n`)
    expect((await loadIn(inner, { model: MODEL })).stdout).toBe('7.7.7\nloaded on cpu\n')
  })

  test('none takes that of the other', async () => {
    const outer = emptyTree()
    addPlatform(outer, PLATFORM, REAL)
    const inner = join(outer, 'node_modules/other')
    addMain(inner, '7.7.7')
    const said = await failureIn(inner)
    expect(said).toContain(`${NAME} ${VERSION} in `)
    expect(said).toContain(`it is version ${VERSION}, and this is bert-layers 7.7.7`)
    expect(said).toContain(`run 'npm install bert-layers@7.7.7 ${NAME}@7.7.7'`)
  })
})

describe.runIf(HAS_CUDA_PACKAGE)('the package with CUDA', () => {
  const install = `npm install @bert-layers/${CUDA}@${VERSION}`

  /** On 'auto' the CPU does it, on 'cuda' the error says what happened. */
  async function expectFallback(folder: string, reason: RegExp): Promise<void> {
    expect(await loadIn(folder, { model: MODEL })).toMatchObject({ stdout: 'loaded on cpu\n', stderr: '', code: 0 })
    const said = await failureIn(folder, { device: 'cuda:0' })
    expect(said).toMatch(/^ERR_DEVICE_UNAVAILABLE device 'cuda:0' is not available: /)
    expect(said).toMatch(reason)
  }

  function treeWithCuda(binary: Buffer | string, version?: string): string {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, REAL)
    addPlatform(folder, CUDA, binary, version)
    return folder
  }

  test('is not installed', async () => {
    const folder = emptyTree()
    addPlatform(folder, PLATFORM, REAL)
    await expectFallback(folder, new RegExp(`package of its own: run '${install}'`))
  })

  test.runIf(ON_GLIBC)('does not load, as there is no driver', async () => {
    const folder = treeWithCuda(sharedLibrary({ library: 'libcuda-of-no-machine.so.1' }))
    await expectFallback(folder, /libcuda-of-no-machine\.so\.1: cannot open shared object file.*NVIDIA GPU, its driver/)
  })

  test.runIf(ON_GLIBC)('crashes when it is loaded', async () => {
    await expectFallback(treeWithCuda(sharedLibrary({ onLoad: 'crash' })), /process of its own \(SIG(SEGV|BUS|ILL)\)/)
  })

  test('ends the process when it is loaded', async () => {
    await expectFallback(treeWithCuda('process.abort()'), /failed in a process of its own/)
    await expectFallback(treeWithCuda('process.exit(0)'), /gave no answer in a process of its own/)
  })

  test('loads, and finds no device', async () => {
    const none = `${REAL}; module.exports.probeDevice = () => ({ error: { code: 'X', message: 'no GPU was found' } })`
    await expectFallback(treeWithCuda(none), /no GPU was found/)
    // A binary that was built without CUDA says so itself.
    await expectFallback(treeWithCuda(REAL), /device 'cuda' is not in this build/)
  })

  test('ends badly after a good answer', async () => {
    const late = `${REAL}; module.exports.probeDevice = () => ({ value: 'cuda:0' }); process.on('exit', () => process.abort())`
    await expectFallback(treeWithCuda(late), /failed in a process of its own/)
  })

  test('is of another version', async () => {
    const folder = treeWithCuda(REAL, '7.7.7')
    await expectFallback(
      folder,
      new RegExp(`it is version 7\\.7\\.7, and this is bert-layers ${VERSION}\\. Run '${install}'`),
    )
  })

  test.runIf(ON_GLIBC)('hangs when it is loaded: its process is ended', async () => {
    const { probe } = (await import(join(PACKAGE, 'dist/probe.js'))) as typeof Probe
    const file = join(temporaryFolder(), 'hangs.node')
    writeFileSync(file, sharedLibrary({ onLoad: 'hang' }))
    // However slow the machine, it never answers.
    const { devices, problem } = await probe(file, ['cuda'], 500)
    expect(devices).toEqual([])
    expect(problem).toBe('it gave no answer within 0.5 s in a process of its own')
  })

  /** A stand-in for a machine with CUDA, which writes down each time that it is loaded. */
  function treeWithWorkingCuda(): { folder: string; loads: () => number } {
    const notes = temporaryFolder()
    const working = `
      const real = require(${JSON.stringify(realBinary())})
      require('node:fs').writeFileSync(${JSON.stringify(notes)} + '/' + process.pid + '-' + performance.now(), '')
      module.exports = {
        ...real,
        probeDevice: () => ({ value: 'cuda:0' }),
        loadEncoder: (request, cancel) => real.loadEncoder({ ...request, device: 'cpu' }, cancel),
      }`
    return { folder: treeWithCuda(working), loads: () => readdirSync(notes).length }
  }

  test('works: it is tried out once, then loaded', async () => {
    const { folder, loads } = treeWithWorkingCuda()
    const before = `
      process.once('beforeExit', async () => {
        for (const device of ['cuda', 'auto']) await Encoder.fromPretrained(${JSON.stringify(MODEL)}, { device })
      })`
    const { stdout, stderr, code } = await loadIn(folder, { model: MODEL, device: 'cuda', before })
    expect(stdout + stderr + code).toBe('loaded on cpu\n0')
    expect(loads()).toBe(2) // in its own process, and in this one
  })

  test("is not looked at for device 'cpu'", async () => {
    const { folder, loads } = treeWithWorkingCuda()
    expect((await loadIn(folder, { model: MODEL, device: 'cpu' })).stdout).toBe('loaded on cpu\n')
    expect(loads()).toBe(0)
  })

  test('is tried out once for all worker threads', async () => {
    const { folder, loads } = treeWithWorkingCuda()
    const before = `
      import { isMainThread, Worker } from 'node:worker_threads'
      import { once } from 'node:events'`
    const program = join(folder, 'workers.mjs')
    writeFileSync(
      program,
      `${before}
      import { Encoder } from 'bert-layers'
      const bert = await Encoder.fromPretrained(${JSON.stringify(MODEL)})
      if (isMainThread) {
        for (let i = 0; i < 3; i++) await once(new Worker(new URL(import.meta.url)), 'exit')
        await bert.dispose()
      }`,
    )
    expect(await runNode([program])).toMatchObject({ stdout: '', stderr: '', code: 0 })
    expect(loads()).toBe(1 + 4) // one process of its own, four threads
  })
})

test("device 'metal' elsewhere, and 'cuda' where there is no package with it", async () => {
  const folder = emptyTree()
  const [os, cpu] = PLATFORM === 'linux-arm64-gnu' ? ['linux', 'arm64'] : ['darwin', 'arm64']
  addPlatform(folder, PLATFORM, REAL)
  const { about } = createRequire(import.meta.url)(realBinary()) as NativeBinding
  if (!about().value?.devices.includes('metal')) {
    expect(await failureIn(folder, { device: 'metal' })).toMatch(/^ERR_DEVICE_UNAVAILABLE device 'metal' .*macOS/)
  }
  mkdirSync(join(folder, 'node_modules/@bert-layers'), { recursive: true })
  addPlatform(folder, os === 'linux' ? 'linux-arm64-gnu' : 'darwin-arm64', REAL)
  const before = `for (const [name, value] of [['platform', '${os}'], ['arch', '${cpu}']]) Object.defineProperty(process, name, { value })`
  expect(await failureIn(folder, { device: 'cuda', before })).toMatch(
    /^ERR_DEVICE_UNAVAILABLE .*no package with CUDA for .*only for linux-x64-gnu and win32-x64-msvc/,
  )
})
