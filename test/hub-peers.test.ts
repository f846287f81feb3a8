/** The cache is shared with Hugging Face's own clients: Python's huggingface_hub, where it is installed, and @huggingface/hub. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Encoder } from 'bert-layers'
import { describe, expect, test, vi } from 'vitest'
import { LoopbackHub } from './support/hub.ts'
import { expectSoundCache, NEEDED, tinyRepository } from './support/hub-models.ts'
import { program, temporaryFolder } from './support/paths.ts'
import { type Ended, run } from './support/process.ts'

/** What is used of @huggingface/hub, whose own types do not pass a strict compiler. */
interface HuggingFaceHub {
  modelInfo(options: object): Promise<{ name: string; sha: string }>
  listFiles(options: object): AsyncIterable<{ path: string; type: string }>
  snapshotDownload(options: object): Promise<string>
  scanCacheDir(cache: string): Promise<{
    repos: { id: object; revisions: { commitOid: string; refs: string[]; files: { path: string }[] }[] }[]
    warnings: unknown[]
  }>
}
const { modelInfo, listFiles, snapshotDownload, scanCacheDir } = (await import(
  '@huggingface/hub' as string
)) as HuggingFaceHub

const NAME = 'some-org/tiny'
/** A Python with huggingface_hub. */
const PYTHON = process.env.BERT_PYTHON ?? 'python3'
const hasPython = spawnSync(PYTHON, ['-c', 'import huggingface_hub']).status === 0
if (!hasPython) console.log(`not run: ${PYTHON} has no huggingface_hub; BERT_PYTHON may name another one`)

async function load(cacheDir: string): Promise<string> {
  await using encoder = await Encoder.fromPretrained(NAME, { cacheDir })
  return encoder.fingerprint
}

function python(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return run(PYTHON, [program('hub_cache.py'), ...args], { env: { HF_HUB_DISABLE_TELEMETRY: '1', ...env } })
}

describe.skipIf(!hasPython)("Python's huggingface_hub", () => {
  test('reads offline what we downloaded', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cache = temporaryFolder()
    await load(cache)
    await hub.stop()
    const { code, stdout, stderr } = await python([cache, NAME, ...NEEDED], { HF_HUB_OFFLINE: '1' })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const found = JSON.parse(stdout) as { files: Record<string, string>; snapshot: string; size: number }
    const snapshot = join(cache, 'models--some-org--tiny/snapshots', commit)
    expect(found.files).toEqual(Object.fromEntries(NEEDED.map(path => [path, join(snapshot, path)])))
    for (const [path, file] of Object.entries(found.files)) {
      expect(readFileSync(file).equals(Buffer.from(files[path]!)), path).toBe(true)
    }
    const size = NEEDED.reduce((sum, path) => sum + Buffer.from(files[path]!).length, 0)
    expect(found).toMatchObject({ snapshot, size, knowsAbsence: true, repositories: [NAME], warnings: [] })
  })

  test('downloads what we then use without a byte', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const [cache, ours] = [temporaryFolder(), temporaryFolder()]
    const downloaded = await python(['download', cache, NAME, ...NEEDED])
    expect(downloaded).toMatchObject({ code: 0 })
    expect(hub.bytes).toBeGreaterThan(400_000)
    hub.requests.length = 0
    const fingerprint = await load(cache)
    expect(hub.downloads).toEqual([])
    expectSoundCache(cache, NAME, commit, files, NEEDED)
    expect(await load(ours)).toBe(fingerprint)
    await hub.stop()
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect(await load(cache)).toBe(fingerprint)
  })

  test('waits while we download, and then has it', { timeout: 300_000 }, async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cache = temporaryFolder()
    // The weights come when Python has been there, and a second after that.
    let pythonCame = () => {}
    const after = new Promise<void>(resolve => {
      pythonCame = () => void setTimeout(resolve, 1000)
    })
    hub.onRequest = ({ host, method, path }) => {
      if (method === 'HEAD' && path.endsWith('/model.safetensors')) pythonCame()
      return host === 'storage' && method === 'GET' ? { after } : undefined
    }
    const loading = load(cache)
    await vi.waitUntil(() => hub.requests.some(({ host }) => host === 'storage'), { timeout: 250_000, interval: 20 })
    const theirs = await python(['download', cache, NAME, 'model.safetensors'])
    expect(theirs).toMatchObject({ code: 0 })
    await loading
    expect(hub.requests.filter(({ host, method }) => host === 'storage' && method === 'GET')).toHaveLength(1)
    expectSoundCache(cache, NAME, commit, files, NEEDED)
  })
})

describe('@huggingface/hub', () => {
  test('finds on the loopback hub what a hub has', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const sha = hub.commit(NAME, files)
    const options = { hubUrl: hub.endpoint }
    expect(await modelInfo({ ...options, name: NAME, additionalFields: ['sha'] })).toMatchObject({ name: NAME, sha })
    const listed: string[] = []
    for await (const { path, type } of listFiles({ ...options, repo: NAME, recursive: true })) {
      if (type === 'file') listed.push(path)
    }
    expect(listed.sort()).toEqual(Object.keys(files).sort())
  })

  test('reads the cache that we wrote', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const sha = hub.commit(NAME, files)
    const cache = temporaryFolder()
    await load(cache)
    const { repos, warnings } = await scanCacheDir(cache)
    expect(warnings).toEqual([])
    expect(repos.map(({ id }) => id)).toEqual([{ name: NAME, type: 'model' }])
    const [revision] = repos[0]!.revisions
    expect(revision).toMatchObject({ commitOid: sha, refs: ['main'] })
    // It does not look into folders.
    const found = revision!.files.map(({ path }) => basename(path)).sort()
    expect(found).toEqual(NEEDED.filter(path => !path.includes('/')))
  })

  test('downloads what we then use without a byte', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    hub.commit(NAME, files)
    const cache = temporaryFolder()
    vi.spyOn(console, 'debug').mockImplementation(() => {})
    await snapshotDownload({ hubUrl: hub.endpoint, repo: NAME, cacheDir: cache })
    hub.requests.length = 0
    await load(cache)
    expect(hub.downloads).toEqual([])
  })
})
