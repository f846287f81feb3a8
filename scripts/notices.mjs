#!/usr/bin/env node
/**
 * The licences of what is linked into a platform's binary: Rust crates and the C in them, as cargo resolves them for that platform and its
 * features, with the texts that their sources carry.
 *
 *     node scripts/notices.mjs PLATFORM        prints the file that scripts/pack.mjs puts into the package
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ROOT } from './packages.mjs'
import { PLATFORMS, packageName } from './platforms.mjs'
import { output } from './tools.mjs'

const LICENCE = /(^|[/\\])(licen[cs]e|copying|copyright|notice|unlicense)([-_.][\w.-]*)?$/i
const SOURCE = /\.(rs|c|h)$/i
const RULE = '='.repeat(100)
const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
(the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so,
subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`

/** Names and versions of some crates that every binary of these features has: a file without them is of something else. */
export function namedCrates({ features = [] }) {
  const names = ['candle-core', 'onig_sys', 'tokenizers']
  if (features.includes('cuda')) names.push('cudarc')
  if (features.includes('metal')) names.push('candle-metal-kernels')
  const lock = readFileSync(join(ROOT, 'Cargo.lock'), 'utf8')
  return names.map(name => `${name} ${lock.match(`name = "${name}"\nversion = "([^"]+)"`)[1]}`)
}

/** The crates whose code is in the binary: neither build scripts nor macros are. */
function linkedCrates({ target, features = [] }) {
  const args = ['metadata', '--format-version', '1', '--locked', '--filter-platform', target]
  if (features.length > 0) args.push('--features', features.map(feature => `bert-layers-node/${feature}`).join(','))
  const { packages, resolve } = JSON.parse(output('cargo', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] }))
  const [byId, nodes] = [packages, resolve.nodes].map(list => new Map(list.map(each => [each.id, each])))
  const found = new Set([packages.find(({ name }) => name === 'bert-layers-node').id])
  // A set goes on to what is added while it is gone through.
  for (const id of found) {
    for (const { pkg, dep_kinds } of nodes.get(id).deps) {
      const linked = dep_kinds.some(({ kind }) => kind === null)
      const macro = byId.get(pkg).targets.some(({ kind }) => kind.includes('proc-macro'))
      if (linked && !macro) found.add(pkg)
    }
  }
  return [...found]
    .map(id => byId.get(id))
    .filter(({ source }) => source !== null) // not our own
    .sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1))
}

/** The texts in a crate's sources; where it has none, those of the licence that its manifest names. */
function licenceTexts({ name, version, license, manifest_path, authors }) {
  const folder = dirname(manifest_path)
  const texts = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && LICENCE.test(entry.name) && !SOURCE.test(entry.name))
    .map(entry => readFileSync(join(entry.parentPath, entry.name), 'utf8').replaceAll('\r\n', '\n').trim())
  if (texts.length > 0) return texts
  if (/\bApache-2\.0\b/.test(license)) return [readFileSync(join(ROOT, 'LICENSE'), 'utf8').trim()]
  const holders = authors.map(author => author.replace(/ <.*/, '')).join(', ') || `the authors of ${name}`
  if (/\bMIT\b/.test(license)) return [`Copyright (c) ${holders}\n\n${MIT}`]
  throw new Error(`${name} ${version} (${license}) has no text of its licence`)
}

/** The content of the file for a platform of scripts/platforms.mjs. */
export function notices(platform) {
  const crates = linkedCrates(platform)
  /** Users of a text, and the text as its first user has it; the same but for spaces and line ends is the same. */
  const texts = new Map()
  for (const crate of crates) {
    for (const text of licenceTexts(crate)) {
      const key = text.replaceAll(/\s+/g, ' ')
      const entry = texts.get(key) ?? { text, users: new Set() }
      texts.set(key, { text: entry.text, users: entry.users.add(`${crate.name} ${crate.version}`) })
    }
  }
  const list = crates.map(({ name, version, license, repository }) => {
    return `${name} ${version}: ${license}${repository ? `, ${repository}` : ''}\n`
  })
  const written = [...texts.values()].map(({ text, users }) => `${RULE}\n${[...users].join(', ')}\n\n${text}\n\n`)
  return (
    `The binary of ${packageName(platform)} holds code of these crates, and of Rust's standard library (MIT OR Apache-2.0,\n` +
    `https://github.com/rust-lang/rust, Copyright (c) The Rust Project Contributors). The texts of their licences follow.\n\n` +
    `${list.join('')}\n${written.join('')}`
  )
}

if (process.argv[1] && import.meta.filename === process.argv[1]) {
  const platform = PLATFORMS.find(({ name }) => name === process.argv[2])
  if (platform) process.stdout.write(notices(platform))
  else console.error(`usage: node scripts/notices.mjs ${PLATFORMS.map(({ name }) => name).join('|')}`)
  process.exitCode = platform ? 0 : 2
}
