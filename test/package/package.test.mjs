/**
 * The packages as a user gets them: packed, installed by npm into an empty project from a registry on this machine, used from everything that
 * loads modules. Run by `npm run test:package`, after `npm run build`.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, sep } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { npmrc, startRegistry } from './registry.mjs'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const CONSUMER = join(ROOT, 'test', 'package', 'consumer')
const MINUTES = 60_000
const MEGABYTES = 1e6
const { devDependencies, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

const execute = promisify(execFile)
const shell = process.platform === 'win32' // npm and npx are .cmd there

/** Runs a command and gives what it printed; a failure's message has it too. */
async function run(command, args, cwd) {
  // The runners below must not take this test's own runner for theirs.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  try {
    const { stdout } = await execute(command, args, { cwd, env, shell, maxBuffer: 1 << 26, timeout: 10 * MINUTES })
    return stdout
  } catch (error) {
    throw new Error(`${[command, ...args].join(' ')}\n${error.message}\n${error.stdout}`)
  }
}

let folder
let tarballs
let registry
let project

/** An empty project with the package in it; npm asks our registry for its platform packages and its model. */
async function install(name, ...args) {
  const place = join(folder, name)
  mkdirSync(place)
  writeFileSync(join(place, 'package.json'), '{ "private": true }\n')
  writeFileSync(join(place, '.npmrc'), npmrc('@bert-layers', registry.url))
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...options, join(tarballs, `bert-layers-${version}.tgz`), ...args], place)
  return place
}

/** The files of an installed package and their sizes. */
function filesOf(name) {
  const root = join(project, 'node_modules', name)
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return files.map(entry => {
    const path = join(entry.parentPath, entry.name)
    return { path: relative(root, path).split(sep).join('/'), size: statSync(path).size }
  })
}
const pathsOf = name => filesOf(name).map(({ path }) => path)

/** The package of this machine's platform. */
function platformPackage() {
  const found = readdirSync(join(project, 'node_modules/@bert-layers')).filter(name => name !== 'all-minilm-l6-v2')
  assert.equal(found.length, 1, `npm installed ${found.join(', ') || 'no platform package'}`)
  return `@bert-layers/${found[0]}`
}

before(
  async () => {
    folder = mkdtempSync(join(tmpdir(), 'bert-layers-package-'))
    tarballs = join(folder, 'tarballs')
    await run('node', [join(ROOT, 'scripts/pack.mjs'), '--out', tarballs], ROOT)
    registry = await startRegistry(tarballs)
    const runners = ['vitest', 'typescript', '@types/node'].map(name => `${name}@${devDependencies[name]}`)
    project = await install('project', 'jest@30', ...runners)
    cpSync(CONSUMER, project, { recursive: true })
  },
  { timeout: 10 * MINUTES },
)

after(() => {
  registry?.close()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

test('the library holds what runs, and nothing else', () => {
  const paths = pathsOf('bert-layers')
  const allowed = [
    /^dist\/([\w-]+\/)*[\w-]+\.js$/,
    /^dist\/index\.cjs$/,
    /^(index\.d\.ts|index\.d\.cts|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/,
  ]
  const strangers = paths.filter(path => !allowed.some(pattern => pattern.test(path)))
  assert.deepEqual(strangers, [])
  const needed = ['dist/index.js', 'dist/index.cjs', 'dist/cli.js', 'index.d.ts', 'index.d.cts', 'README.md', 'LICENSE']
  for (const path of needed) assert.ok(paths.includes(path), `${path} is missing`)
})

test('the binary comes in the package of this platform, which holds nothing else', () => {
  const name = platformPackage()
  const binary = `bert-layers.${name.split('/')[1]}.node`
  assert.deepEqual(pathsOf(name).toSorted(), [
    'LICENSE',
    'README.md',
    'THIRD-PARTY-NOTICES.txt',
    binary,
    'package.json',
  ])
})

test('both stay under 30 MB unpacked', t => {
  const bytes = [...filesOf('bert-layers'), ...filesOf(platformPackage())].reduce((sum, { size }) => sum + size, 0)
  t.diagnostic(`${bytes} bytes`)
  assert.ok(bytes < 30 * MEGABYTES, `${bytes} bytes`)
})

test('the model holds its weights, its tokenizer, its licence and where it comes from', () => {
  assert.deepEqual(pathsOf('@bert-layers/all-minilm-l6-v2').toSorted(), [
    '1_Pooling/config.json',
    'LICENSE',
    'NOTICE',
    'README.md',
    'config.json',
    'config_sentence_transformers.json',
    'model.safetensors',
    'modules.json',
    'package.json',
    'sentence_bert_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
})

test('without optional dependencies it installs, imports, and says what is missing', {
  timeout: 5 * MINUTES,
}, async () => {
  const place = await install('omitted', '--omit=optional')
  assert.ok(!existsSync(join(place, 'node_modules', platformPackage())))
  const program = `
    import { Encoder } from 'bert-layers'
    const failure = await Encoder.fromPretrained().catch(error => error)
    console.log(failure.code, failure.message)`
  const output = await run('node', ['--input-type=module', '-e', program], place)
  assert.match(output, /^ERR_INTERNAL no native module of bert-layers could be loaded/)
  assert.match(output, /--omit=optional/)
  assert.ok(output.includes(`run 'npm install ${platformPackage()}@${version}'`), output)
  // And that is the fix.
  await run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${platformPackage()}@${version}`], place)
  assert.match(await run('npx', ['--no-install', 'bert-layers', 'embed', 'It works.'], place), /^\{"text":"It works\."/)
})

test('import', async () => {
  assert.equal(await run('node', ['import.mjs'], project), 'ok\n')
})

test('require', async () => {
  assert.equal(await run('node', ['require.cjs'], project), 'ok\n')
})

test('errors of the imported and the required copy are instances of each other', async () => {
  assert.equal(await run('node', ['both.mjs'], project), 'ok\n')
})

test('vitest', { timeout: 3 * MINUTES }, async () => {
  assert.match(
    await run('npx', ['--no-install', 'vitest', 'run', '--config', 'vitest.config.mjs'], project),
    /1 passed/,
  )
})

test('Jest', { timeout: 3 * MINUTES }, async () => {
  await run('npx', ['--no-install', 'jest', '--ci', '--config', 'jest.config.cjs'], project)
})

test('the command line', async () => {
  const out = await run('npx', ['--no-install', 'bert-layers', 'encode', '你好，世界！', '--format', 'json'], project)
  const { layers, hiddenStates } = JSON.parse(out)
  assert.deepEqual(layers, [0, 1, 2, 3, 4, 5, 6])
  assert.equal(hiddenStates.length, 7)
})

for (const module of ['nodenext', 'node16']) {
  test(`TypeScript, ESM and CommonJS, module ${module}`, { timeout: 2 * MINUTES }, async () => {
    await run('npx', ['--no-install', 'tsc', '--noEmit', '-p', `tsconfig.${module}.json`], project)
  })
}
