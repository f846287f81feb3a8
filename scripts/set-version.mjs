#!/usr/bin/env node
/**
 * Sets the version everywhere: package.json, its lock file, the crates and their lock files, ts/version.ts.
 *
 *     node scripts/set-version.mjs 0.2.0
 *
 * The model in models/ has a version of its own, which changes when its files do.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, readManifest } from './packages.mjs'

const version = process.argv[2] ?? ''
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) {
  console.error('usage: node scripts/set-version.mjs 1.2.3')
  process.exit(2)
}
const before = readManifest(ROOT).version

/** Replaces what a pattern finds, which must be there: `$1` is what stays before the version. */
function edit(file, pattern) {
  const path = join(ROOT, file)
  const text = readFileSync(path, 'utf8')
  if (!pattern.test(text)) throw new Error(`${file} has no version where one was expected`)
  writeFileSync(path, text.replace(pattern, `$1${version}$2`))
}

const old = before.replaceAll('.', '\\.')
edit('package.json', new RegExp(`(^ {2}"version": ")${old}(")`, 'm'))
edit('package-lock.json', new RegExp(`(^ {2}"version": ")${old}(")`, 'm'))
edit('package-lock.json', new RegExp(`(^ {4}"": \\{\\n {6}"name": "bert-layers",\\n {6}"version": ")${old}(")`, 'm'))
edit('ts/version.ts', /(VERSION = ')[^']*(')/)
edit('Cargo.toml', new RegExp(`(^\\[workspace\\.package\\]\\n(?:[^[].*\\n)*?version = ")${old}(")`, 'm'))
edit('Cargo.toml', new RegExp(`(^bert-layers[\\w-]* = \\{.*version = ")${old}(")`, 'gm'))
for (const lock of ['Cargo.lock', 'benches/Cargo.lock', 'fuzz/Cargo.lock']) {
  edit(lock, new RegExp(`(^name = "bert-layers[\\w-]*"\\nversion = ")${old}(")`, 'gm'))
}
console.log(`${before} → ${version}`)
