#!/usr/bin/env node
/**
 * The tests of test/*.test.ts with the package as a user gets it: packed, installed into an empty project with scripts disabled, and no checkout
 * around it. The tests are copied into that project, where `bert-layers` is what npm installed.
 *
 *     node scripts/test-installed.mjs [--tarballs FOLDER] [--with PLATFORM] [--keep] [TEST...]
 *
 * Without --tarballs it packs first (scripts/pack.mjs). --with installs a package that users choose too, such as linux-x64-gnu-cuda. --keep leaves
 * the project there. TEST are vitest's filters, such as test/embed.test.ts. Needs Node and npm, no node_modules of the checkout.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { npmrc, startRegistry } from '../test/package/registry.mjs'
import { ROOT, readManifest, tarballName } from './packages.mjs'
import { packageName } from './platforms.mjs'

/** Tests of the repository itself, which a project has no use for. */
const OF_THE_REPOSITORY = ['test/platforms.test.ts', 'test/workflows.test.ts', 'test/tarballs.test.ts']
/** What tests read. Copied where it imports the package: a link would lead back to the checkout. */
const COPIED = ['test', 'examples', 'benches/resized.mjs', 'README.md', 'tsconfig.json', 'vitest.config.ts']
const LINKED = ['crates', 'models', 'scripts']
const TOOLS = ['vitest', 'fast-check', 'esbuild', 'typescript', '@types/node', '@huggingface/hub']

const { values, positionals } = parseArgs({
  options: {
    tarballs: { type: 'string' },
    with: { type: 'string', multiple: true, default: [] },
    keep: { type: 'boolean', default: false },
  },
  allowPositionals: true,
})
const folder = mkdtempSync(join(tmpdir(), 'bert-layers-installed-'))
const tarballs = values.tarballs ? resolve(values.tarballs) : join(folder, 'tarballs')
const project = join(folder, 'project')

/** Not synchronous: the registry is this process. */
async function run(command, args, cwd = project) {
  const shell = process.platform === 'win32' && command !== process.execPath // npm and npx are .cmd there
  // A binary that was chosen for the checkout must not be what is tested.
  const { BERT_LAYERS_NATIVE: _, ...env } = process.env
  const [status] = await once(
    spawn(command, args, { cwd, env, shell, stdio: ['ignore', 'inherit', 'inherit'] }),
    'exit',
  )
  if (status !== 0) throw new Error(`\`${[command, ...args].join(' ')}\` failed`)
}

let registry
try {
  if (!values.tarballs) await run(process.execPath, [join(ROOT, 'scripts/pack.mjs'), '--out', tarballs], ROOT)
  const own = readManifest(ROOT)
  registry = await startRegistry(tarballs)
  for (const name of COPIED) cpSync(join(ROOT, name), join(project, name), { recursive: true })
  for (const name of LINKED) symlinkSync(join(ROOT, name), join(project, name), 'junction')
  for (const name of OF_THE_REPOSITORY) rmSync(join(project, name), { force: true })
  // Of the types that tests import, nothing is left when they run.
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n')
  writeFileSync(join(project, '.npmrc'), npmrc('@bert-layers', registry.url))
  const tools = TOOLS.map(name => `${name}@${own.devDependencies[name]}`)
  const chosen = values.with.map(name => `${packageName({ name })}@${own.version}`)
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...options, join(tarballs, tarballName(own)), ...chosen, ...tools])

  const installed = join(project, 'node_modules')
  const binaries = readdirSync(join(installed, '@bert-layers')).filter(name => name !== 'all-minilm-l6-v2')
  if (existsSync(join(installed, 'bert-layers/native'))) throw new Error('the main package has a binary of its own')
  console.log(`installed: bert-layers ${own.version} with ${binaries.join(', ') || 'no binary'}`)
  await run('npx', ['--no-install', 'bert-layers', 'doctor'])
  await run('npx', ['--no-install', 'vitest', 'run', ...positionals])
} catch (error) {
  console.error(`test-installed: ${error.message}`)
  process.exitCode = 1
} finally {
  registry?.close()
  if (values.keep) console.log(folder)
  else rmSync(folder, { recursive: true, force: true })
}
