#!/usr/bin/env node
/** Packs what would be published and lets publint and attw judge the tarball. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = mkdtempSync(join(tmpdir(), 'bert-layers-pack-'))
const shell = process.platform === 'win32' // npm and npx are .cmd there

function run(command, args, options) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell, ...options })
  if (result.status !== 0)
    throw new Error(`\`${[command, ...args].join(' ')}\` failed${result.error ? `: ${result.error.message}` : ''}`)
  return result.stdout
}

try {
  run('node', [join(root, 'scripts/pack.mjs'), '--out', folder])
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const tarball = join(folder, `bert-layers-${version}.tgz`)
  run('npx', ['--no-install', 'publint', tarball, '--strict'])
  run('npx', ['--no-install', 'attw', tarball])
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
