#!/usr/bin/env node
/**
 * The gate before publishing: every package is there, of one version, holding what it should and nothing that runs at install.
 *
 *     node scripts/check-tarballs.mjs [FOLDER] [--version VERSION]        tarballs/ by default; VERSION may begin with v, as a tag does
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { binaryKind } from './binary-kind.mjs'
import { namedCrates } from './notices.mjs'
import { MODEL, mainManifest, NOTICES, platformManifest, ROOT, readManifest, tarballName } from './packages.mjs'
import { binaryName, PLATFORMS } from './platforms.mjs'

/** The packages in the order in which they are published: the main one last, when all that it names is there. */
export function packagesToPublish() {
  const platforms = PLATFORMS.map(platform => ({ platform, expected: platformManifest(platform) }))
  return [...platforms, { expected: readManifest(MODEL) }, { expected: mainManifest() }].map(each => ({
    ...each,
    tarball: tarballName(each.expected),
  }))
}

/** What is wrong with a folder of tarballs: sentences; none is good. */
export function tarballProblems(folder, version) {
  const packages = packagesToPublish()
  const { version: own } = readManifest(ROOT)
  const problems = []
  if (version !== undefined && version.replace(/^v/, '') !== own) {
    problems.push(`this is version ${own}, and ${version} is to be published`)
  }
  const { version: model } = readManifest(MODEL)
  const wanted = readManifest(ROOT).dependencies['@bert-layers/all-minilm-l6-v2']
  if (wanted !== model) problems.push(`the main package wants version ${wanted} of the model, which is ${model}`)
  const known = packages.map(({ tarball }) => tarball)
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (name.endsWith('.tgz') && !known.includes(name))
      problems.push(`${name} is none of the packages of version ${own}`)
  }
  for (const { tarball, expected, platform } of packages) {
    const file = join(folder, tarball)
    if (existsSync(file)) problems.push(...contentProblems(file, expected, platform).map(each => `${tarball}: ${each}`))
    else problems.push(`${tarball} is missing`)
  }
  return problems
}

function contentProblems(file, expected, platform) {
  const manifest = JSON.parse(tar(['-xOzf', file, 'package/package.json']).toString())
  const problems = []
  for (const key of new Set([...Object.keys(expected), ...Object.keys(manifest)])) {
    if (!isDeepStrictEqual(manifest[key], expected[key])) {
      problems.push(`${key} is ${JSON.stringify(manifest[key])}, not ${JSON.stringify(expected[key])}`)
    }
  }
  if (manifest.scripts) problems.push('it has scripts')
  const paths = tar(['-tzf', file]).toString().split(/\r?\n/).filter(Boolean)
  const binaries = paths.filter(path => path.endsWith('.node'))
  const wanted = platform ? [`package/${binaryName(platform)}`] : []
  if (!isDeepStrictEqual(binaries, wanted)) {
    problems.push(`its binaries are [${binaries.join(', ')}], not [${wanted.join(', ')}]`)
  } else if (platform) {
    const { os, cpu } = binaryKind(tar(['-xOzf', file, wanted[0]]))
    if (os !== platform.os || cpu !== platform.cpu) problems.push(`its binary is for ${os} on ${cpu}`)
  }
  for (const name of ['README.md', 'LICENSE', ...expected.files]) {
    const path = `package/${name}`
    if (!paths.some(each => each === path || each.startsWith(`${path}/`))) problems.push(`${name} is missing`)
  }
  if (platform && paths.includes(`package/${NOTICES}`)) {
    const lines = tar(['-xOzf', file, `package/${NOTICES}`])
      .toString()
      .split('\n')
    const unnamed = namedCrates(platform).filter(crate => !lines.some(line => line.startsWith(`${crate}: `)))
    if (unnamed.length > 0) problems.push(`${NOTICES} does not name ${unnamed.join(', ')}`)
  }
  return problems
}

function tar(args) {
  // A path with a drive letter would be another machine's to GNU tar.
  const result = spawnSync(
    'tar',
    args.map(arg => (arg.endsWith('.tgz') ? basename(arg) : arg)),
    {
      cwd: resolve(args[1], '..'),
      maxBuffer: 1 << 30,
    },
  )
  if (result.status !== 0) throw new Error(`tar ${args.join(' ')}: ${result.error?.message ?? result.stderr}`)
  return result.stdout
}

if (process.argv[1] && import.meta.filename === process.argv[1]) {
  const { values, positionals } = parseArgs({ options: { version: { type: 'string' } }, allowPositionals: true })
  const problems = tarballProblems(resolve(positionals[0] ?? join(ROOT, 'tarballs')), values.version)
  for (const problem of problems) console.error(`check-tarballs: ${problem}`)
  if (problems.length > 0) process.exit(1)
  console.log(`complete: ${packagesToPublish().length} packages`)
}
