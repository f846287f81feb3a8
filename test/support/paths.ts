import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const CLI = join(ROOT, 'dist/cli.js')

/** A golden model of test/fixtures: config.json, model.safetensors and what Transformers gives for it. */
export function goldenFolder(name: string): string {
  return join(ROOT, 'test/fixtures/goldens', name)
}

/** A program of test/support that runs in a process of its own. */
export function program(name: string): string {
  return join(ROOT, 'test/support', name)
}

/** An empty folder that goes when the test is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'bert-layers-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
