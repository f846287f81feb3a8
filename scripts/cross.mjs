/**
 * How cargo makes the binary of a platform, on whatever machine that can: zig is the C compiler and linker of all four Linux platforms,
 * as it has every glibc's symbols and musl in one package, with cargo-zigbuild between it and cargo. macOS and Windows binaries want the
 * SDK of their system, so they are made there by cargo as it is.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { compareVersions, readElf } from './elf.mjs'
import { output, wheels } from './tools.mjs'

/** The oldest glibc that the gnu binaries run with; also the oldest that Rust's own standard library runs with. */
export const GLIBC = '2.17'
const ZIG = ['ziglang==0.17.1', 'cargo-zigbuild==0.24.0']

/** The command that does what `cargo build` does, its environment, and the target as it wants to be told. */
export function crossCargo({ target, os, libc, features = [] }) {
  addTarget(target)
  // CUDA's libraries want a newer glibc than ours, and its compiler the system's C++ compiler.
  if (os !== 'linux' || features.includes('cuda')) return { command: 'cargo', subcommand: 'build', target, env: {} }
  const tools = wheels(ZIG)
  const env = { CARGO_ZIGBUILD_ZIG_PATH: join(tools, 'ziglang', 'zig') }
  // Rust links musl's C library into everything; a library that Node loads must use Node's.
  if (libc === 'musl') env.RUSTFLAGS = `${process.env.RUSTFLAGS ?? ''} -C target-feature=-crt-static`.trim()
  return {
    command: join(tools, 'bin', 'cargo-zigbuild'),
    subcommand: 'zigbuild',
    target: libc === 'glibc' ? `${target}.${GLIBC}` : target,
    env,
  }
}

/** Has rustup install the target. */
export function addTarget(target) {
  // Without rustup the target may be there all the same: cargo will say.
  if (spawnSync('rustup', ['--version']).status !== 0) return
  const installed = output('rustup', ['target', 'list', '--installed']).split('\n')
  if (!installed.includes(target)) output('rustup', ['target', 'add', target])
}

/** What is wrong with a Linux binary for its platform, or undefined. */
export function linuxBinaryProblem(file, { cpu, libc }) {
  const elf = readElf(file)
  if (elf.cpu !== cpu) return `it is for ${elf.cpu}`
  if (!elf.nodelete) return 'it would be unloaded with the last worker thread that uses it (no -z nodelete)'
  if (libc === 'musl') {
    const others = elf.needed.filter(name => !/^libc\.(so|musl-)/.test(name))
    if (elf.glibc !== undefined) return `it needs glibc ${elf.glibc}`
    return others.length > 0 ? `it needs ${others.join(', ')}, which Alpine may not have` : undefined
  }
  if (elf.glibc === undefined) return 'it needs no glibc'
  return compareVersions(elf.glibc, GLIBC) > 0 ? `it needs glibc ${elf.glibc}, newer than ${GLIBC}` : undefined
}
