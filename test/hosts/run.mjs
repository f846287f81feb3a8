#!/usr/bin/env node
/**
 * Runs checks.mjs in other hosts of Node-API, and an application of Next.js.
 *
 *     npm run test:hosts [-- HOST...]       after `npm run build`; all of them by default
 *
 * Hosts come from npm packages that carry them, unpacked once into a cache (scripts/tools.mjs), for this machine's platform. One that cannot be had
 * is said to be 'not run', which is a failure only for those that were asked for by name.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { npmPackage, Unavailable } from '../../scripts/tools.mjs'
import { nextRoute } from './next.mjs'
import { FIXTURES, ROOT, withProject } from './project.mjs'

const { platform, arch } = process
const program = platform === 'win32' ? '.exe' : ''

function executable(spec, ...path) {
  const file = join(npmPackage(spec), ...path)
  chmodSync(file, 0o755)
  return file
}

const node = version => () => [executable(`node-${platform}-${arch}@${version}`, 'bin', `node${program}`)]
const glibc = platform === 'linux' ? '-glibc' : ''

/** What is in front of a program's name, for each host. */
const HOSTS = {
  'node-20': node('20.20.2'),
  'node-22': node('22.23.3'),
  'node-24': node('24.21.0'),
  bun: () => [
    executable(`@oven/bun-${platform}-${arch === 'arm64' ? 'aarch64' : arch}@1.4.5`, 'bin', `bun${program}`),
    'run',
  ],
  deno: () => [executable(`@deno/${platform}-${arch}${glibc}@2.9.6`, `deno${program}`), 'run', '--allow-all'],
}

function runChecks([command, ...args], folder) {
  run(command, [...args, 'checks.mjs', FIXTURES], { cwd: folder })
}

function run(command, args, options) {
  const env = { ...process.env, HF_HUB_OFFLINE: '1', ...options.env }
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit', ...options, env })
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ended with ${signal ?? status}`)
}

const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
const tests = {}
for (const [name, host] of Object.entries(HOSTS)) {
  tests[name] = async () => {
    const command = host()
    await withProject(folder => runChecks(command, folder))
    // Other versions of Node.js run the suite's own tests of views and worker threads too.
    if (name.startsWith('node-'))
      run(command[0], [vitest, 'run', 'test/views.test.ts', 'test/workers.test.ts'], { cwd: ROOT })
  }
}
tests.next = nextRoute

const wanted = process.argv.slice(2)
const unknown = wanted.find(name => !Object.hasOwn(tests, name))
if (unknown) {
  console.error(`no host is called '${unknown}': ${Object.keys(tests).join(', ')}`)
  process.exit(2)
}
const results = { passed: 0, failed: 0, 'not run': 0 }
for (const [name, test] of Object.entries(tests)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.log(name)
  try {
    await test()
    results.passed++
  } catch (error) {
    const skipped = error instanceof Unavailable && wanted.length === 0
    results[skipped ? 'not run' : 'failed']++
    console.log(`  ${skipped ? 'not run' : 'FAILED'}: ${error.message}`)
  }
}
console.log(
  Object.entries(results)
    .map(([what, count]) => `${count} ${what}`)
    .join(', '),
)
if (results.failed > 0 || results.passed === 0) process.exitCode = 1
