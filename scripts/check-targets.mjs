#!/usr/bin/env node
/**
 * Type-checks every crate for the platforms whose binaries can only be linked with their system's SDK: macOS, with Metal and Accelerate, and
 * Windows.
 *
 *     node scripts/check-targets.mjs [PLATFORM...]      all darwin and win32 platforms of scripts/platforms.mjs, those with CUDA left out
 *
 * `cargo check` links nothing, so the C in tokenizers (onig) and blake3's assembly need not be compiled: what stands in for the C compiler does
 * nothing. So all Rust is checked, ours and the dependencies', and no C. The platforms with CUDA want CUDA's headers and compiler at hand.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addTarget } from './cross.mjs'
import { PLATFORMS } from './platforms.mjs'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const TOOLS = ['cc', 'ar', 'cl.exe', 'lib.exe', 'ml64.exe', 'xcrun']

const platforms = PLATFORMS.filter(({ os, features = [] }) => os !== 'linux' && !features.includes('cuda'))
const wanted = process.argv.slice(2)
const unknown = wanted.find(name => !platforms.some(platform => platform.name === name))
if (unknown) {
  console.error(`nothing to check is called '${unknown}': ${platforms.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

/** All that is done: the library of an archiver for Windows, since the cc crate makes a copy of that. */
const IDLE = `#!/bin/sh
for argument; do
  case "$argument" in -out:*) : > "\${argument#-out:}" ;; esac
done
`

/** Calls `use` with a folder of programs that do next to nothing, successfully. */
function withIdleTools(use) {
  const folder = mkdtempSync(join(tmpdir(), 'bert-layers-check-'))
  try {
    writeFileSync(join(folder, 'idle'), IDLE)
    chmodSync(join(folder, 'idle'), 0o755)
    for (const tool of TOOLS) symlinkSync('idle', join(folder, tool))
    return use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function check({ name, target, features = [] }, tools) {
  console.log(name)
  addTarget(target)
  const triple = target.replaceAll('-', '_')
  const env = {
    ...process.env,
    PATH: `${process.env.PATH}${delimiter}${tools}`,
    [`CC_${triple}`]: join(tools, 'cc'),
    [`AR_${triple}`]: join(tools, 'ar'),
    SDKROOT: tools,
  }
  const args = ['check', '--workspace', '--target', target]
  if (features.length > 0) args.push('--features', features.map(feature => `bert-layers-node/${feature}`).join(','))
  return spawnSync('cargo', args, { cwd: ROOT, env, stdio: 'inherit' }).status === 0
}

const failed = withIdleTools(tools =>
  platforms
    .filter(({ name }) => wanted.length === 0 || wanted.includes(name))
    .filter(platform => !check(platform, tools))
    .map(({ name }) => name),
)
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`)
  process.exitCode = 1
}
