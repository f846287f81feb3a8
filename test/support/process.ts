import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

interface RunOptions {
  input?: string | Uint8Array | undefined
  env?: NodeJS.ProcessEnv
}

/** Runs Node on a program and waits for its end. */
export function runNode(args: string[], options?: RunOptions): Promise<Ended> {
  return run(process.execPath, args, options)
}

/** Runs a program and waits for its end. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<Ended> {
  const child = spawn(command, args, { env: { ...process.env, ...options.env } })
  child.stdin.on('error', () => {}) // it may end without having read
  child.stdin.end(options.input ?? '')
  const [stdout, stderr, end] = await Promise.all([text(child.stdout), text(child.stderr), ended(child)])
  return { ...end, stdout, stderr }
}

/** How a process ended; a crash is a signal. Its output may still be on its way: read that to its end. */
export function ended(child: ChildProcess): Promise<Pick<Ended, 'code' | 'signal'>> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
}
