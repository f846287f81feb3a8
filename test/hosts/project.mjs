import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = dirname(fileURLToPath(import.meta.url))
export const ROOT = join(HERE, '..', '..')
export const FIXTURES = join(ROOT, 'test', 'fixtures')

/** Calls `use` with the folder of a user's project that has this checkout installed and the programs of this folder; it goes afterwards. */
export async function withProject(use) {
  const folder = mkdtempSync(join(tmpdir(), 'bert-layers-host-'))
  try {
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(ROOT, join(folder, 'node_modules', 'bert-layers'), 'junction')
    for (const program of ['checks.mjs', 'worker.mjs']) cpSync(join(HERE, program), join(folder, program))
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
