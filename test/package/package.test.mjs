/**
 * The packages as a user gets them: packed, installed into an empty project, used from everything that loads modules.
 * Run by `npm run test:package`, after `npm run build`.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const CONSUMER = join(ROOT, 'test', 'package', 'consumer')
const MINUTES = 60_000
const MEGABYTES = 1e6
const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

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
let project
let packed

async function pack(args) {
  const output = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder, ...args], ROOT)
  const [report] = JSON.parse(output)
  return { ...report, tarball: join(folder, report.filename), paths: report.files.map(file => file.path) }
}

before(
  async () => {
    folder = mkdtempSync(join(tmpdir(), 'bert-layers-package-'))
    packed = {
      library: await pack([]),
      model: await pack(['--workspace', '@bert-layers/all-minilm-l6-v2']),
    }
    project = join(folder, 'project')
    mkdirSync(project)
    cpSync(CONSUMER, project, { recursive: true })
    writeFileSync(join(project, 'package.json'), '{ "private": true }\n')
    const runners = [
      'jest@30',
      ...['vitest', 'typescript', '@types/node'].map(name => `${name}@${devDependencies[name]}`),
    ]
    await run(
      'npm',
      [
        'install',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--prefer-offline',
        packed.library.tarball,
        packed.model.tarball,
        ...runners,
      ],
      project,
    )
  },
  { timeout: 10 * MINUTES },
)

after(() => {
  if (folder) rmSync(folder, { recursive: true, force: true })
})

test('the library holds what runs, and nothing else', () => {
  const allowed = [
    /^dist\/([\w-]+\/)*[\w-]+\.js$/,
    /^dist\/index\.cjs$/,
    /^native\/bert-layers\.[\w-]+\.node$/,
    /^(index\.d\.ts|index\.d\.cts|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/,
  ]
  const strangers = packed.library.paths.filter(path => !allowed.some(pattern => pattern.test(path)))
  assert.deepEqual(strangers, [])
  const needed = ['dist/index.js', 'dist/index.cjs', 'dist/cli.js', 'index.d.ts', 'index.d.cts', 'README.md', 'LICENSE']
  for (const path of needed) assert.ok(packed.library.paths.includes(path), `${path} is missing`)
  assert.equal(packed.library.paths.filter(path => path.endsWith('.node')).length, 1)
})

test('the library stays under 30 MB, packed and unpacked', t => {
  t.diagnostic(`${packed.library.size} bytes packed, ${packed.library.unpackedSize} unpacked`)
  assert.ok(packed.library.unpackedSize < 30 * MEGABYTES, `${packed.library.unpackedSize} bytes`)
})

test('the model holds its weights, its tokenizer, its licence and where it comes from', () => {
  assert.deepEqual(packed.model.paths.toSorted(), [
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
