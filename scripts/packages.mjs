/** What is published: the manifests of the packages, made from the repository's own package.json and the table of platforms. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { binaryName, PLATFORMS, packageName } from './platforms.mjs'

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
/** The licences of what is linked into a binary; made by scripts/notices.mjs. */
export const NOTICES = 'THIRD-PARTY-NOTICES.txt'
export const MODEL = join(ROOT, 'models', 'all-minilm-l6-v2')

export function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

const exactly = (platforms, version) => Object.fromEntries(platforms.map(each => [packageName(each), version]))

/**
 * The main package: JavaScript, types and a loader. npm installs the one optional dependency that fits the machine. Those that a user
 * chooses are optional peers: npm refuses another version of them, and strict package managers let this package see them.
 */
export function mainManifest(own = readManifest(ROOT)) {
  const { private: _, scripts: __, devDependencies: ___, workspaces: ____, ...kept } = own
  const chosen = PLATFORMS.filter(({ optIn }) => optIn)
  return {
    ...kept,
    files: own.files.filter(name => name !== 'native'),
    optionalDependencies: exactly(
      PLATFORMS.filter(({ optIn }) => !optIn),
      own.version,
    ),
    peerDependencies: exactly(chosen, own.version),
    peerDependenciesMeta: Object.fromEntries(chosen.map(each => [packageName(each), { optional: true }])),
  }
}

/** A platform's package: the binary, and what it owes to others. */
export function platformManifest(platform, { version, license, repository, engines } = readManifest(ROOT)) {
  const { os, cpu, libc } = platform
  return {
    name: packageName(platform),
    version,
    description: `bert-layers for ${describe(platform)}`,
    license,
    repository,
    engines,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    main: binaryName(platform),
    files: [binaryName(platform), NOTICES],
    // Yarn keeps packages zipped, and no system loads a library from there.
    preferUnplugged: true,
  }
}

export function platformReadme(platform) {
  const how = platform.optIn
    ? `Install it beside bert-layers, in the same version: \`npm install ${packageName(platform)}\`. It needs an NVIDIA GPU, its driver and the
libraries of CUDA 13 where the system's loader finds them; where it does not work, bert-layers uses the CPU.`
    : 'npm installs it with bert-layers where it fits; nobody needs to name it.'
  return `# ${packageName(platform)}\n\nThe binary of [bert-layers](https://github.com/bert-layers/bert-layers) for ${describe(platform)}. ${how}\n`
}

const SYSTEMS = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }

function describe({ os, cpu, libc, features = [] }) {
  const extra = features.includes('cuda') ? ', with CUDA' : ''
  return `${SYSTEMS[os]} on ${cpu}${libc ? ` with ${libc}` : ''}${extra}`
}

/** A platform's row in README's table, which test/platforms.test.ts holds against this. */
export function platformRow(platform) {
  const { os, cpu, libc, features = [], optIn } = platform
  // CUDA's own libraries want a newer glibc than the oldest that we build for.
  const floor = libc === 'glibc' && !optIn ? ' ≥ 2.17' : ''
  const system = `${SYSTEMS[os]}${libc ? `, ${libc}${floor}` : ''}`
  const gpu = features.includes('cuda') ? 'CUDA, CPU' : features.includes('metal') ? 'Metal, CPU' : 'CPU'
  const installed = optIn ? `by \`npm install ${packageName(platform)}\`` : 'with `bert-layers`'
  return `| \`${packageName(platform)}\` | ${system} | ${cpu} | ${gpu} | ${installed} |`
}

/** What npm calls the tarball of a package. */
export function tarballName({ name, version }) {
  return `${name.replace('@', '').replace('/', '-')}-${version}.tgz`
}
