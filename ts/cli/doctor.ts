import { existsSync } from 'node:fs'
import { release } from 'node:os'
import type { NativeAbout } from '../binding.ts'
import { cudaCandidates } from '../cuda.ts'
import { hubCache } from '../hub/settings.ts'
import { candidates, describeFailure } from '../native.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import { describeHost, type Host, host, platformName } from '../platform.ts'
import { type Candidate, CUDA, findInstalled, type Installed, packageName, prebuiltPlatforms } from '../prebuilt.ts'
import { probe } from '../probe.ts'
import { VERSION } from '../version.ts'
import type { DoctorCommand } from './arguments.ts'
import { writeAll } from './output.ts'
import { printable } from './text.ts'

/** Those asked of a binary; one that it was not built for costs nothing. */
const GPUS = ['metal', ...Array.from({ length: 8 }, (_, number) => `cuda:${number}`)]
const VARIABLES =
  /^(BERT_LAYERS|HF|HUGGING_FACE|TRANSFORMERS|CUDA|NVIDIA)_|^(XDG_CACHE_HOME|NODE_OPTIONS|LD_LIBRARY_PATH)$/
const SECRET = /TOKEN$/

/** What loads. */
type Found = { source: string } & NativeAbout

interface Search {
  found?: Found
  /** Those that opened. */
  devices: string[]
  tried: Candidate[]
}

/** The JSON that is printed. */
interface Report {
  version: string
  platform: { name: string; release: string } & Host
  node: string
  loads: Found | null
  /** What loads for devices 'auto' and 'cuda', where the package with CUDA is installed and works. */
  loadsForCuda: Found | null
  devices: string[]
  tried: { source: string; problem: string | null }[]
  /** What to do, when nothing loads. */
  advice: string | null
  packages: Record<string, Installed | null>
  cache: { folder: string; exists: boolean }
  environment: Record<string, string>
}

/** Prints what this package found and would load; whether anything loads. Binaries are tried in processes of their own, so none can end this one. */
export async function doctorCommand({ format }: DoctorCommand): Promise<boolean> {
  const report = await examine()
  const chunks = format === 'json' ? [`${JSON.stringify(report, null, 2)}\n`] : textLines(report)
  await writeAll(chunks, undefined)
  return report.loads !== null
}

async function examine(): Promise<Report> {
  const here = host()
  const name = platformName(here)
  const ordinary = await tryOut(candidates(), ['cpu', ...GPUS])
  const cuda = process.env.BERT_LAYERS_NATIVE ? undefined : await tryOut(cudaCandidates(), GPUS)
  const tried = [...ordinary.tried, ...(cuda?.tried ?? [])]
  const folder = hubCache()
  return {
    version: VERSION,
    platform: { name, ...here, release: release() },
    node: process.versions.node,
    loads: ordinary.found ?? null,
    loadsForCuda: cuda?.found ?? null,
    devices: [...new Set([...(cuda?.devices ?? []), ...ordinary.devices])],
    tried: tried.map(({ source, problem }) => ({ source, problem: problem?.reason ?? null })),
    advice: ordinary.found ? null : describeFailure(ordinary.tried),
    packages: packages(name),
    cache: { folder, exists: existsSync(folder) },
    environment: environment(),
  }
}

/** Goes through candidates in order until one loads, each in a process of its own. */
async function tryOut(all: Candidate[], names: readonly string[]): Promise<Search> {
  const tried: Candidate[] = []
  for (const candidate of all) {
    tried.push(candidate)
    if (candidate.problem || candidate.file === undefined) continue
    const { about, devices, problem } = await probe(candidate.file, names)
    if (problem === undefined && about) return { found: { source: candidate.source, ...about }, devices, tried }
    candidate.problem = { kind: 'load', reason: problem ?? 'it does not say what it is' }
  }
  return { devices: [], tried }
}

/** What is installed of the packages that could be of use here; those of other platforms only where they are installed. */
function packages(platform: string): Report['packages'] {
  const cuda = prebuiltPlatforms(true).filter(name => name === `${platform}${CUDA}`)
  const wanted = [packageName(platform), ...cuda.map(packageName), DEFAULT_MODEL]
  const others = prebuiltPlatforms()
    .map(packageName)
    .filter(name => !wanted.includes(name) && findInstalled(name))
  return Object.fromEntries([...wanted, ...others].map(name => [name, findInstalled(name) ?? null]))
}

/** The variables that this package or what it is made of reads; never a token. */
function environment(): Record<string, string> {
  const set = Object.entries(process.env).filter(([name]) => VARIABLES.test(name))
  return Object.fromEntries(set.sort().map(([name, value = '']) => [name, SECRET.test(name) ? '(set)' : value]))
}

function* textLines(report: Report): Iterable<string> {
  const { platform, loads, loadsForCuda } = report
  yield `bert-layers ${report.version}\n`
  yield row('platform', `${platform.name} (${describeHost(platform)}, kernel ${platform.release})`)
  yield row('Node.js', report.node)
  yield row('loads', loads ? `${loads.source}, version ${loads.version}` : 'nothing')
  if (loads) yield row('instructions', loads.instructionSet)
  if (loadsForCuda) yield row('for CUDA', `${loadsForCuda.source}, version ${loadsForCuda.version}`)
  yield row('devices', report.devices.join(', ') || 'none')
  for (const [index, { source, problem }] of report.tried.entries()) {
    yield row(index === 0 ? 'tried' : '', `${source}: ${problem ?? 'loads'}`)
  }
  for (const [index, [name, found]] of Object.entries(report.packages).entries()) {
    yield row(
      index === 0 ? 'packages' : '',
      `${name} ${found ? `${found.version} in ${found.folder}` : 'is not installed'}`,
    )
  }
  yield row('cache', `${report.cache.folder}${report.cache.exists ? '' : ', which is not there yet'}`)
  for (const [index, [name, value]] of Object.entries(report.environment).entries()) {
    yield row(index === 0 ? 'environment' : '', `${name}=${value}`)
  }
  if (report.advice !== null) yield `\n${report.advice}\n`
}

function row(name: string, value: string): string {
  return `  ${name.padEnd(13)}${printable(value)}\n`
}
