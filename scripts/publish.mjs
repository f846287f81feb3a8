#!/usr/bin/env node
/**
 * Publishes a folder of tarballs that scripts/check-tarballs.mjs finds complete: the platforms, the model, and the main package last, so that
 * nobody can install it before all is there. What the registry has in that version already is left alone: a run that broke off goes on.
 *
 *     node scripts/publish.mjs FOLDER [--version VERSION] [--tag next] [--provenance]
 *     node scripts/publish.mjs FOLDER --dry-run        all but publishing: lists what each tarball holds
 *
 * A dry run never calls `npm publish`, whose own --dry-run has been seen to publish.
 */
import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { packagesToPublish, tarballProblems } from './check-tarballs.mjs'

const { values, positionals } = parseArgs({
  options: {
    version: { type: 'string' },
    tag: { type: 'string', default: 'latest' },
    provenance: { type: 'boolean', default: false },
    'dry-run': { type: 'boolean', default: false },
  },
  allowPositionals: true,
})
if (positionals.length !== 1) {
  console.error('usage: node scripts/publish.mjs FOLDER [--version VERSION] [--tag TAG] [--provenance] [--dry-run]')
  process.exit(2)
}
const folder = resolve(positionals[0])

function npm(args, stdio = 'inherit') {
  const shell = process.platform === 'win32' // npm is a .cmd there
  return spawnSync('npm', args, { stdio, encoding: 'utf8', shell })
}

/** A registry that cannot be asked is not one that has nothing. */
function isPublished({ name, version }) {
  const { status, stdout } = npm(['view', `${name}@${version}`, 'version', '--json'], ['ignore', 'pipe', 'pipe'])
  if (status === 0) return stdout.trim() !== ''
  if (/"code": "E404"/.test(stdout)) return false
  throw new Error(`npm view ${name}@${version} failed: ${stdout}`)
}

const problems = tarballProblems(folder, values.version)
for (const problem of problems) console.error(`publish: ${problem}`)
if (problems.length > 0) process.exit(1)

for (const { tarball, expected } of packagesToPublish()) {
  const file = join(folder, tarball)
  let result
  if (values['dry-run']) result = npm(['pack', file, '--dry-run', '--ignore-scripts'])
  else if (isPublished(expected)) console.log(`${expected.name} ${expected.version} is published already`)
  else {
    const args = ['publish', file, '--access', 'public', '--ignore-scripts', '--tag', values.tag]
    result = npm(values.provenance ? [...args, '--provenance'] : args)
  }
  if (result && result.status !== 0) process.exit(1)
}
