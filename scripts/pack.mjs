#!/usr/bin/env node
/**
 * Packs what is published, after `npm run build`: the main package without a binary, the default model, and a package for each platform whose
 * binary is in native/. The licences of what is in a binary are asked of cargo.
 *
 *     node scripts/pack.mjs [--out FOLDER]        tarballs/ by default; other tarballs in it are removed
 *
 * scripts/check-tarballs.mjs says whether they are complete.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { notices } from './notices.mjs'
import { MODEL, mainManifest, NOTICES, platformManifest, platformReadme, ROOT } from './packages.mjs'
import { binaryName, PLATFORMS } from './platforms.mjs'

const { values } = parseArgs({ options: { out: { type: 'string', default: join(ROOT, 'tarballs') } } })
const out = resolve(values.out)

/** Packs a folder; no script of anybody runs. */
function pack(folder) {
  const args = ['pack', folder, '--json', '--ignore-scripts', '--pack-destination', out]
  const shell = process.platform === 'win32' // npm is a .cmd there
  const result = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], shell })
  if (result.status !== 0) throw new Error(`npm ${args.join(' ')} failed`)
  const [{ name, version, size, unpackedSize }] = JSON.parse(result.stdout)
  const megabytes = bytes => `${(bytes / 1e6).toFixed(1)} MB`
  console.log(`${name} ${version}: ${megabytes(size)}, ${megabytes(unpackedSize)} unpacked`)
}

/** Packs files of the repository under a manifest that is made. */
function packStaged(manifest, files, texts = {}) {
  const stage = mkdtempSync(join(tmpdir(), 'bert-layers-stage-'))
  try {
    for (const file of files) {
      const [from, to] = Array.isArray(file) ? file : [file, file]
      mkdirSync(dirname(join(stage, to)), { recursive: true })
      cpSync(join(ROOT, from), join(stage, to), { recursive: true })
    }
    for (const [name, text] of Object.entries(texts)) writeFileSync(join(stage, name), text)
    writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    pack(stage)
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

mkdirSync(out, { recursive: true })
for (const name of readdirSync(out).filter(name => name.endsWith('.tgz'))) rmSync(join(out, name))

const main = mainManifest()
packStaged(main, [...main.files, 'README.md', 'LICENSE'])
pack(MODEL)
for (const platform of PLATFORMS) {
  const binary = join('native', binaryName(platform))
  if (!existsSync(join(ROOT, binary))) continue
  const files = [[binary, binaryName(platform)], 'LICENSE']
  const texts = { 'README.md': platformReadme(platform), [NOTICES]: notices(platform) }
  packStaged(platformManifest(platform), files, texts)
}
