/** What a Linux binary needs where it is loaded, read from the file itself: no tool of its processor is wanted. */
import { readFileSync } from 'node:fs'

const MACHINES = { 62: 'x64', 183: 'arm64' }
const DT_NEEDED = 1
const DT_FLAGS_1 = 0x6ffffffb
const DF_1_NODELETE = 8
const SHT_DYNAMIC = 6
const SHT_GNU_VERNEED = 0x6ffffffe

/**
 * `cpu` as npm names it; `needed`, the libraries; `versions`, the symbol versions it wants of each library, such as GLIBC_2.17;
 * `glibc`, the highest of glibc's, or undefined; `nodelete`, whether it stays loaded when it is closed.
 */
export function readElf(path) {
  const file = readFileSync(path)
  if (file.toString('latin1', 0, 4) !== '\x7fELF' || file[4] !== 2 || file[5] !== 1) {
    throw new Error(`${path} is no 64-bit little-endian ELF file`)
  }
  const sections = readSections(file)
  const named = (section, offset) => {
    const start = sections[section.link].offset + offset
    return file.toString('latin1', start, file.indexOf(0, start))
  }

  const needed = []
  let nodelete = false
  const dynamic = sections.find(({ type }) => type === SHT_DYNAMIC)
  for (let at = dynamic?.offset ?? 0; dynamic && at < dynamic.offset + dynamic.size; at += 16) {
    const [tag, value] = [Number(file.readBigUInt64LE(at)), Number(file.readBigUInt64LE(at + 8))]
    if (tag === DT_NEEDED) needed.push(named(dynamic, value))
    if (tag === DT_FLAGS_1) nodelete = (value & DF_1_NODELETE) !== 0
  }

  const versions = {}
  const wanted = sections.find(({ type }) => type === SHT_GNU_VERNEED)
  // Elf64_Verneed: a library and a list of Elf64_Vernaux, both chained by relative offsets.
  for (let at = wanted?.offset, next = wanted ? 1 : 0; next !== 0; at += next) {
    const list = []
    for (let entry = at + file.readUInt32LE(at + 8), following = 1; following !== 0; entry += following) {
      list.push(named(wanted, file.readUInt32LE(entry + 8)))
      following = file.readUInt32LE(entry + 12)
    }
    versions[named(wanted, file.readUInt32LE(at + 4))] = list
    next = file.readUInt32LE(at + 12)
  }
  const glibc = Object.values(versions)
    .flat()
    .filter(version => /^GLIBC_\d/.test(version))
    .map(version => version.slice('GLIBC_'.length))
    .sort(compareVersions)
    .at(-1)
  return { cpu: MACHINES[file.readUInt16LE(18)], needed, versions, glibc, nodelete }
}

function readSections(file) {
  const table = Number(file.readBigUInt64LE(40))
  const [size, count] = [file.readUInt16LE(58), file.readUInt16LE(60)]
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * size
    return {
      type: file.readUInt32LE(at + 4),
      offset: Number(file.readBigUInt64LE(at + 24)),
      size: Number(file.readBigUInt64LE(at + 32)),
      link: file.readUInt32LE(at + 40),
    }
  })
}

/** 2.9 before 2.17 before 2.17.1. */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map(version => version.split('.').map(Number))
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
