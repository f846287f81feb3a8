/** One table, scripts/platforms.mjs: what is built, tested and published, what the loader looks for and what README says are held against it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type * as Prebuilt from '../ts/prebuilt.ts'
import type * as Version from '../ts/version.ts'
import { PACKAGE, ROOT } from './support/paths.ts'

interface Platform {
  name: string
  os: string
  cpu: string
  libc?: string
  optIn?: boolean
}
const { PLATFORMS, packageName } = (await import('../scripts/platforms.mjs' as string)) as {
  PLATFORMS: Platform[]
  packageName(platform: Platform): string
}
const { mainManifest, platformManifest, platformRow, readManifest } = (await import(
  '../scripts/packages.mjs' as string
)) as {
  mainManifest(): Record<string, Record<string, string>>
  platformManifest(platform: Platform): Record<string, unknown>
  platformRow(platform: Platform): string
  readManifest(folder: string): { version: string; scripts: object }
}

const names = PLATFORMS.map(({ name }) => name)
const ordinary = PLATFORMS.filter(({ optIn }) => !optIn)
const chosen = PLATFORMS.filter(({ optIn }) => optIn)
const { version } = readManifest(ROOT)
const exact = (platforms: Platform[]) => Object.fromEntries(platforms.map(each => [packageName(each), version]))
const read = (...path: string[]) => readFileSync(join(ROOT, ...path), 'utf8')

describe('the table of platforms', () => {
  test("is README's", () => {
    const [, table = ''] = read('README.md').split('| prebuilt package | system | processor | devices | installed |\n')
    const rows = table.slice(0, table.indexOf('\n\n')).split('\n').slice(1)
    expect(rows).toEqual(PLATFORMS.map(platformRow))
  })

  test('is what the workflow builds, and what it tests', () => {
    const [, build = '', later = ''] = read('.github/workflows/prebuilt.yml').split(/^ {2}(?:build|pack):$/m)
    const [, tested = ''] = later.split(/^ {2}test:$/m)
    const platforms = (job: string) => [...job.matchAll(/^ +- \{ platform: ([\w-]+),/gm)].map(match => match[1])
    expect(platforms(build)).toEqual(names)
    expect(platforms(tested)).toEqual(names)
  })

  test('is what the loader looks for', async () => {
    const { prebuiltPlatforms } = (await import(join(PACKAGE, 'dist/prebuilt.js'))) as typeof Prebuilt
    expect([...prebuiltPlatforms(), ...prebuiltPlatforms(true)]).toEqual(names)
    expect(prebuiltPlatforms(true)).toEqual(chosen.map(({ name }) => name))
    // A tool that traces requires sees the name of the package in the call itself.
    const calls = read('ts/prebuilt.ts').matchAll(/'([\w-]+)': \(\) => require\('([^']+)'\)/g)
    expect(Array.from(calls, ([, name, required]) => [name, required])).toEqual(
      PLATFORMS.map(each => [each.name, packageName(each)]),
    )
  })
})

describe('what is published', () => {
  test('is in one version, exactly', async () => {
    const { VERSION } = (await import(join(PACKAGE, 'dist/version.js'))) as typeof Version
    expect(VERSION).toBe(version)
    expect(read('Cargo.toml')).toContain(`[workspace.package]\nversion = "${version}"`)
    const main = mainManifest()
    expect(main.optionalDependencies).toEqual(exact(ordinary))
    expect(main.peerDependencies).toEqual(exact(chosen))
    expect(Object.keys(main.peerDependenciesMeta!)).toEqual(Object.keys(main.peerDependencies!))
    for (const platform of PLATFORMS) expect(platformManifest(platform).version).toBe(version)
  })

  test('runs nothing at install, and holds no binary that does not belong there', () => {
    const main = mainManifest()
    expect(main.scripts).toBeUndefined()
    expect(main.files).not.toContain('native')
    const runs = /^(pre|post)?(install|prepare|pack|publish)(Only)?$/
    expect(Object.keys(readManifest(ROOT).scripts).filter(name => runs.test(name))).toEqual([])
    for (const platform of PLATFORMS) {
      const { os, cpu, libc, main, files, scripts } = platformManifest(platform)
      expect([os, cpu, libc]).toEqual([[platform.os], [platform.cpu], platform.libc && [platform.libc]])
      expect([files, scripts]).toEqual([[main, 'THIRD-PARTY-NOTICES.txt'], undefined])
    }
  })
})
