import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** The package under test: this checkout, or the installed one where the tests were copied to (scripts/test-installed.mjs). */
export const PACKAGE = dirname(createRequire(import.meta.url).resolve('bert-layers/package.json'))
export const CLI = join(PACKAGE, 'dist/cli.js')

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
