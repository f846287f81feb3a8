import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from './support/paths.ts'
import { realBinary } from './support/tree.ts'

interface Elf {
  cpu: string
  needed: string[]
  versions: Record<string, string[]>
  glibc: string | undefined
  nodelete: boolean
}

const { compareVersions, readElf } = (await import(join(ROOT, 'scripts/elf.mjs'))) as {
  compareVersions(a: string, b: string): number
  readElf(path: string): Elf
}

const NATIVE = join(ROOT, 'native')
/** Those of a checkout, which may be of several platforms, or the installed one. */
const BINARIES = existsSync(NATIVE)
  ? readdirSync(NATIVE)
      .filter(name => /\.linux-.*\.node$/.test(name))
      .map(name => join(NATIVE, name))
  : [realBinary()]
const HERE = spawnSync('readelf', ['--version']).status === 0 && process.platform === 'linux'

test.runIf(HERE).each([...BINARIES, process.execPath])('%s needs what readelf says', path => {
  const readelf = (...options: string[]) =>
    execFileSync('readelf', [...options, path], { encoding: 'utf8', maxBuffer: 1 << 26 })
  const all = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(match => match[1] ?? '')
  const dynamic = readelf('-dW')
  const elf = readElf(path)
  expect(elf.needed).toEqual(all(dynamic, /\(NEEDED\)\s+Shared library: \[(.*)\]/g))
  expect(elf.nodelete).toBe(/\(FLAGS_1\).*NODELETE/.test(dynamic))
  const needs = readelf('-VW').split('.gnu.version_r')[1] ?? ''
  expect(Object.values(elf.versions).flat()).toEqual(all(needs, /Name: (\S+)\s+Flags/g))
  expect(Object.keys(elf.versions)).toEqual(all(needs, /File: (\S+)/g))
  const machine = readelf('-hW').includes('AArch64') ? 'arm64' : 'x64'
  expect(elf.cpu).toBe(machine)
})

test('versions are compared number by number', () => {
  expect(['2.17', '2.9', '2.17.1', '2.2.5', '2.28'].sort(compareVersions)).toEqual([
    '2.2.5',
    '2.9',
    '2.17',
    '2.17.1',
    '2.28',
  ])
})
