/** A Next.js application with a route that embeds: built for production, traced into a standalone server, started, asked. */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { platformManifest } from '../../scripts/packages.mjs'
import { binaryName, PLATFORMS, packageName } from '../../scripts/platforms.mjs'
import { npmProject } from '../../scripts/tools.mjs'
import { ROOT } from './project.mjs'

const NEXT = ['next@16.4.6', 'react@19', 'react-dom@19']
const MODEL = '@bert-layers/all-minilm-l6-v2'

const FILES = {
  // Tracing: as hosts such as Vercel do it.
  'next.config.mjs': `import config from './readme.config.mjs'

export default { ...config, output: 'standalone' }
`,
  'app/layout.js': 'export default ({ children }) => <html lang="en"><body>{children}</body></html>\n',
  'app/page.js': 'export default () => <p>embeds</p>\n',
  'app/api/embed/route.js': `import { Encoder } from 'bert-layers'

const encoder = Encoder.fromPretrained() // once a process

export async function POST(request) {
  const vectors = await (await encoder).embed(await request.json())
  return Response.json([...vectors.data])
}
`,
}

/** What README tells users of Next.js. */
function readmeConfig() {
  const [config] = readFileSync(join(ROOT, 'README.md'), 'utf8').match(/^\/\/ next\.config\.mjs\n[^`]+/m)
  return config
}

/** node_modules as npm makes them: real files, the binary in the package of this platform. */
function installInto(modules) {
  for (const name of ['bert-layers', '@bert-layers']) rmSync(join(modules, name), { recursive: true, force: true })
  for (const path of ['package.json', 'dist', 'index.d.ts']) {
    cpSync(join(ROOT, path), join(modules, 'bert-layers', path), { recursive: true })
  }
  cpSync(join(ROOT, 'models', 'all-minilm-l6-v2'), join(modules, MODEL), { recursive: true })
  const ordinary = PLATFORMS.filter(({ optIn }) => !optIn)
  for (const platform of ordinary.filter(({ os, cpu }) => os === process.platform && cpu === process.arch)) {
    const binary = join(ROOT, 'native', binaryName(platform))
    if (!existsSync(binary)) continue
    const folder = join(modules, packageName(platform))
    cpSync(binary, join(folder, binaryName(platform)))
    writeFileSync(join(folder, 'package.json'), JSON.stringify(platformManifest(platform)))
  }
}

export async function nextRoute() {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const project = npmProject([...NEXT, `undici@${dependencies.undici}`])
  for (const path of ['app', '.next']) rmSync(join(project, path), { recursive: true, force: true })
  installInto(join(project, 'node_modules'))
  mkdirSync(join(project, 'app', 'api', 'embed'), { recursive: true })
  for (const [path, text] of Object.entries(FILES)) writeFileSync(join(project, path), text)
  writeFileSync(join(project, 'readme.config.mjs'), readmeConfig())

  const env = { ...process.env, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1', HF_HUB_OFFLINE: '1' }
  const next = join(project, 'node_modules', 'next', 'dist', 'bin', 'next')
  const { status } = spawnSync(process.execPath, [next, 'build'], { cwd: project, env, stdio: 'inherit' })
  if (status !== 0) throw new Error(`next build ended with ${status}`)

  // Away from the project's node_modules: the standalone folder must hold all it needs.
  const standalone = mkdtempSync(join(tmpdir(), 'bert-layers-next-'))
  cpSync(join(project, '.next', 'standalone'), standalone, { recursive: true })
  const port = await freePort()
  const server = spawn(process.execPath, ['server.js'], {
    cwd: standalone,
    env: { ...env, PORT: String(port), HOSTNAME: '127.0.0.1' },
    stdio: 'inherit',
  })
  try {
    const texts = ['a cat on a mat', 'a kitten on a rug', 'stock markets fell']
    const body = await post(`http://127.0.0.1:${port}/api/embed`, texts, server)
    const [cat, kitten, stocks] = [0, 1, 2].map(text => body.slice(text * 384, (text + 1) * 384))
    const dot = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0)
    if (body.length !== 3 * 384 || !(dot(cat, kitten) > dot(cat, stocks) + 0.2)) throw new Error('wrong vectors')
    console.log(`  ok the route embeds: ${dot(cat, kitten).toFixed(3)} and ${dot(cat, stocks).toFixed(3)}`)
  } finally {
    server.kill()
    rmSync(standalone, { recursive: true, force: true })
  }
}

async function post(url, texts, server) {
  for (;;) {
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(texts) }).catch(() => undefined)
    if (response?.ok) return response.json()
    if (response) throw new Error(`${response.status}: ${(await response.text()).slice(0, 500)}`)
    if (server.exitCode !== null) throw new Error(`the server ended with ${server.exitCode}`)
    await sleep(200)
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise(resolve => server.close(resolve))
  return port
}
