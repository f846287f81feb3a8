import { spawn } from 'node:child_process'
import type { NativeAbout, Outcome } from './binding.ts'
import { firstLine } from './prebuilt.ts'

/** What a binary is and which of the devices that were asked for opened; a problem means that it must not be loaded here. */
export interface Probe {
  about?: NativeAbout
  devices: string[]
  problem?: string
}

/** What the child prints. */
interface Answer {
  /** Why the binary did not load. */
  failure?: string
  about?: Outcome<NativeAbout>
  devices?: Outcome<string>[]
}

/** Longer than a driver needs that works, on a machine with many GPUs. */
const PATIENCE = 60_000
/** Set in the child: a program that runs itself as that child, where it should run Node, must not start another. */
const INSIDE = 'BERT_LAYERS_PROBE'
const MOST_OUTPUT = 65_536

/**
 * What the child runs. A string and no file, so that there is nothing that a bundler could leave behind.
 * A process that does not end well after it has answered would not end well with the driver in it either.
 */
const PROGRAM = `
const [file, ...names] = process.argv.slice(1)
let answer
try {
  const { about, probeDevice } = require(file)
  answer = { about: about(), devices: names.map(name => probeDevice(name)) }
} catch (error) {
  answer = { failure: error.message }
}
require('node:fs').writeSync(1, JSON.stringify(answer))
`

/** Loads a binary and opens devices in a process of its own, so that a driver which crashes or hangs does so there. */
export async function probe(file: string, names: readonly string[], patience = PATIENCE): Promise<Probe> {
  const unable = await whyNot()
  if (unable !== undefined)
    return { devices: [], problem: `it could not be tried out in a process of its own: ${unable}` }
  const { output, problem } = await run(['-e', PROGRAM, file, ...names], patience)
  if (problem !== undefined) return { devices: [], problem }
  try {
    return read(JSON.parse(output) as Answer)
  } catch {
    return { devices: [], problem: 'it gave no answer in a process of its own' }
  }
}

function read({ failure, about, devices = [] }: Answer): Probe {
  if (failure !== undefined) return { devices: [], problem: firstLine(failure) }
  const opened = devices.flatMap(({ value }) => value ?? [])
  const problem = about?.error ?? (opened.length === 0 ? devices[0]?.error : undefined)
  return { ...(about?.value && { about: about.value }), devices: opened, ...(problem && { problem: problem.message }) }
}

/** Why no process can be started that would be Node. */
async function whyNot(): Promise<string | undefined> {
  if (process.env[INSIDE]) return `${INSIDE} is set`
  // A single executable application runs itself, whatever its arguments.
  const sea = await import('node:sea').catch(() => undefined)
  return sea?.isSea() ? 'this program is a single executable' : undefined
}

function run(args: string[], patience: number): Promise<{ output: string; problem?: string }> {
  const { NODE_OPTIONS: _, ...env } = process.env
  return new Promise(done => {
    let output = ''
    let errors = ''
    let late = false
    const failed = (problem: string) => done({ output, problem })
    try {
      const child = spawn(process.execPath, args, {
        env: { ...env, ELECTRON_RUN_AS_NODE: '1', [INSIDE]: '1' },
        stdio: ['ignore', 'pipe', 'pipe'],
        windowsHide: true,
      })
      const timer = setTimeout(() => {
        late = true
        child.kill('SIGKILL')
      }, patience)
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(0, MOST_OUTPUT)
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        errors = (errors + text).slice(0, MOST_OUTPUT)
      })
      child.on('error', error => {
        clearTimeout(timer)
        failed(`it could not be tried out in a process of its own: ${firstLine(error)}`)
      })
      child.on('close', (code, signal) => {
        clearTimeout(timer)
        if (late) failed(`it gave no answer within ${patience / 1000} s in a process of its own`)
        else if (code === 0) done({ output })
        else failed(`it failed in a process of its own (${describeEnd(code, signal)})${errorLine(errors)}`)
      })
    } catch (error) {
      failed(`it could not be tried out in a process of its own: ${firstLine(error)}`)
    }
  })
}

function describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return signal
  // A crash on Windows is a status such as 0xc0000005.
  return `status ${code! > 255 ? `0x${code!.toString(16)}` : code}`
}

/** The line that says what went wrong: that of an Error, or the last one. */
function errorLine(errors: string): string {
  const lines = errors
    .split('\n')
    .map(line => line.trim())
    .filter(Boolean)
  const line = lines.find(line => /^\w*Error: /.test(line)) ?? lines.findLast(line => !/^Node\.js v/.test(line))
  return line === undefined ? '' : `: ${line.replace(/^\w*Error: /, '')}`
}
