#!/usr/bin/env node
/**
 * Runs a list of npm scripts one after the other, stops at the first that fails, and counts the tests that ran.
 *
 *     node scripts/check.mjs ready         what CI runs: everything a change must pass
 *     node scripts/check.mjs verify        the same tests at full counts, the real models, and the benches with limits
 *
 * The closing line, `N passed, N failed`, adds up the closing lines of the test runners themselves.
 */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const LISTS = {
  ready: { steps: ['build', 'lint', 'test', 'test:package', 'check:package'], env: {} },
  verify: {
    steps: [
      'build',
      'test',
      'test:models',
      'test:isa',
      'test:package',
      'check:package',
      'bench:memory',
      'bench:load',
      'bench:scaling',
      'bench:event-loop',
      'bench:search',
      'bench:stream',
    ],
    env: { BERT_LAYERS_VERIFY: '1' },
  },
}

const list = LISTS[process.argv[2]]
if (!list) {
  console.error(`usage: node scripts/check.mjs ${Object.keys(LISTS).join(' | ')}`)
  process.exit(2)
}

/** The closing lines of cargo test, vitest and node --test. */
const CLOSING = [
  /^test result: .*? (?<passed>\d+) passed; (?<failed>\d+) failed; (?<skipped>\d+) ignored/,
  /^\s*Tests\s+(?:(?<failed>\d+) failed(?: \| )?)?(?:(?<passed>\d+) passed(?: \| )?)?(?:(?<skipped>\d+) skipped)?.*\(\d+\)/,
  /^(?:#|ℹ) pass (?<passed>\d+)$/,
  /^(?:#|ℹ) fail (?<failed>\d+)$/,
  /^(?:#|ℹ) skipped (?<skipped>\d+)$/,
]
const total = { passed: 0, failed: 0, skipped: 0 }

function count(output) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of a terminal begin with ESC
  for (const line of output.replace(/\u001b\[[\d;]*m/g, '').split(/\r?\n/)) {
    const groups = CLOSING.map(pattern => pattern.exec(line)).find(match => match !== null)?.groups
    for (const [what, n] of Object.entries(groups ?? {})) total[what] += Number(n ?? 0)
  }
}

function run(step) {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', ['run', step], {
      cwd: join(dirname(fileURLToPath(import.meta.url)), '..'),
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...list.env },
      shell: process.platform === 'win32', // npm is a .cmd there
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
      process.stdout.write(text)
    })
    child.on('error', reject)
    child.on('close', status => {
      count(output)
      resolve(status)
    })
  })
}

const started = Date.now()
const times = []
let failedStep
for (const step of list.steps) {
  const from = Date.now()
  const before = total.passed
  const status = await run(step)
  times.push(`${step} ${Math.round((Date.now() - from) / 1000)} s`)
  if (status === 0 && step.startsWith('test') && step !== 'test:models' && total.passed === before) {
    console.error(
      `${step} passed without having run a test, or its closing line has changed: see CLOSING in scripts/check.mjs`,
    )
    failedStep = step
  }
  if (status !== 0) failedStep = step
  if (failedStep) break
}
console.log(`\n${times.join(', ')}; ${Math.round((Date.now() - started) / 1000)} s in all`)
if (failedStep) console.log(`${failedStep} failed`)
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ''}`)
process.exit(failedStep ? 1 : 0)
