import { existsSync } from 'node:fs'
import type { Cuda } from './cuda.ts'
import { type Host, platformName } from './platform.ts'
import { BUNDLED, type Candidate, CUDA, findInstalled, isBundled, packageName, prebuiltPlatforms } from './prebuilt.ts'
import { VERSION } from './version.ts'

const FROM_SOURCE = "build it in a clone of the repository with 'npm run build'"
const REINSTALL = "remove node_modules and run 'npm ci' on this machine"
/** The C library that a message of the system's loader shows a binary to be made for. */
const MADE_FOR = { musl: /\blibc\.musl-/, glibc: /\bld-linux|\blibc\.so\.6\b|\bGLIBC_|: symbol not found/ }

/** The likely fix when no binary loads. */
export function adviceOn(tried: readonly Candidate[], here: Host): string {
  const platform = platformName(here)
  const name = packageName(platform)
  const [first] = tried
  const last = tried.at(-1)?.problem
  const failed = tried.find(({ problem }) => problem?.kind === 'load')
  if (process.env.BERT_LAYERS_NATIVE) {
    const why = first?.problem?.kind === 'load' ? ` ${adviceOnFailure(first.problem.reason, here)}` : ''
    return `BERT_LAYERS_NATIVE names this file: correct it, or unset it to use the installed one.${why}`
  }
  if (failed) return adviceOnFailure(failed.problem!.reason, here)
  if (!prebuiltPlatforms().includes(platform)) {
    return `There is no prebuilt package for ${platform}; there are: ${prebuiltPlatforms().join(', ')}. To use it here, ${FROM_SOURCE}.`
  }
  if (last?.kind === 'version') {
    return (
      `The two belong together: run 'npm install bert-layers@${VERSION} ${name}@${VERSION}'; if several versions of bert-layers ` +
      "are in one tree, each needs the package of its own version beside it, which 'npm install' arranges."
    )
  }
  return adviceOnMissing(platform, here)
}

/** Why the binary with CUDA is not to be had, and what to do; ends a sentence about the device. */
export function adviceOnCuda({ tried = [] }: Cuda): string {
  const name = packageName(`${platformName()}${CUDA}`)
  const install = `npm install ${name}@${VERSION}`
  if (process.env.BERT_LAYERS_NATIVE) return 'the binary that BERT_LAYERS_NATIVE names was built without it'
  if (!prebuiltPlatforms(true).includes(`${platformName()}${CUDA}`)) {
    return `there is no package with CUDA for ${platformName()}, only for ${cudaPlatforms()}; use 'auto' or 'cpu'`
  }
  if (tried.length === 0) return `it is in a package of its own: run '${install}', or use 'auto' or 'cpu'`
  const attempts = tried.map(({ source, problem }) => `${source}: ${problem?.reason}`).join('; ')
  if (tried.every(({ problem }) => problem?.kind === 'version')) return `${attempts}. Run '${install}'`
  return (
    `${attempts}. This binary needs an NVIDIA GPU, its driver, and the libraries of CUDA 13 (libcublas, libcurand) where the ` +
    "system's loader finds them; 'auto' and 'cpu' work without"
  )
}

function cudaPlatforms(): string {
  return prebuiltPlatforms(true)
    .map(platform => platform.slice(0, -CUDA.length))
    .join(' and ')
}

/** npm leaves an optional dependency out without a word. */
function adviceOnMissing(platform: string, here: Host): string {
  if (isBundled()) return BUNDLED
  if (existsSync(new URL('../Cargo.toml', import.meta.url)))
    return "This is a clone of the repository: build it with 'npm run build'."
  const others = prebuiltPlatforms().filter(other => findInstalled(packageName(other)) !== undefined)
  if (others.length > 0) {
    const same = others.find(other => other.startsWith(`${here.os}-${here.cpu}-`))
    const why = same ? `; this Node.js uses ${here.libc}, which is another C library` : ''
    return `The package that is installed is for ${others.join(', ')}${why}: node_modules was made on another system. Here, ${REINSTALL}.`
  }
  return (
    `Optional dependencies were left out (npm with --omit=optional or --no-optional), or package-lock.json was made on another platform ` +
    `and names only its packages (a bug of npm): run 'npm install ${packageName(platform)}@${VERSION}', or remove node_modules and ` +
    `package-lock.json and run 'npm install'. Or ${FROM_SOURCE}.`
  )
}

/** What the system's loader means by it. */
function adviceOnFailure(reason: string, here: Host): string {
  const [, glibc] = /version `GLIBC_([\d.]+)' not found/.exec(reason) ?? []
  if (glibc !== undefined) {
    return (
      `This binary needs glibc ${glibc} or newer, and here is glibc ${here.libcVersion ?? 'of an unknown version'}: use a newer ` +
      `distribution (or container image), or ${FROM_SOURCE}.`
    )
  }
  const other = here.libc === 'musl' ? 'glibc' : 'musl'
  if (here.libc !== undefined && MADE_FOR[other].test(reason)) {
    return `This binary is for ${other}, and this Node.js uses ${here.libc}: node_modules was made on another system. Here, ${REINSTALL}.`
  }
  if (/ERR_DLOPEN_DISABLED|addons? (is|are) disabled|Cannot load native addon/i.test(reason)) {
    return 'Node.js forbids native modules here: run it without --no-addons, or with --allow-addons where --permission is given.'
  }
  if (
    /wrong ELF class|invalid ELF header|incompatible architecture|not a valid Win32|file too short|not a mach-o/i.test(
      reason,
    )
  ) {
    return `This file is damaged, or for another processor: ${REINSTALL}.`
  }
  return `If the file is damaged or for another system, ${REINSTALL}. Or ${FROM_SOURCE}.`
}
