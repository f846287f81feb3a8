import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Encoder } from 'bert-layers'
import { describe, expect, test, vi } from 'vitest'
import { type Fault, LoopbackHub, type Request } from './support/hub.ts'
import { type Files, sha256 } from './support/hub-files.ts'
import { bytesInCache, expectSoundCache, NEEDED, shardedRepository, tinyRepository } from './support/hub-models.ts'
import { program, temporaryFolder } from './support/paths.ts'
import { ended, runNode } from './support/process.ts'
import { randomInteger, seededRandom } from './support/random.ts'
import { count } from './support/verify.ts'

const NAME = 'some-org/tiny'
const FAULTS = count(30, 300)
const SOON = { 'retry-after': '0' }

/** The fingerprint, or the code of what went wrong. */
async function attempt(cacheDir: string): Promise<string> {
  try {
    await using encoder = await Encoder.fromPretrained(NAME, { cacheDir, threads: 1 })
    return encoder.fingerprint
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

type Random = () => number

const STATUSES = [408, 429, 500, 502, 503, 504]

/** One fault of each kind, at a random place of an answer of `size` bytes at most. */
const KINDS: Record<string, (random: Random, size: number) => Fault> = {
  'cut connection': (random, size) => ({ cutAfter: randomInteger(random, size) }),
  'wrong bytes': (random, size) => ({ damageAt: randomInteger(random, size) }),
  'short body': (random, size) => ({ shortenTo: randomInteger(random, size) }),
  delay: random => ({ delay: randomInteger(random, 300) }),
  'bad status': random => ({ status: STATUSES[randomInteger(random, STATUSES.length)]!, headers: SOON }),
  HTML: () => ({ body: '<!DOCTYPE html><html>please log in</html>', headers: { 'content-type': 'text/html' } }),
  silence: (random, size) => ({ hangAfter: randomInteger(random, size) }),
  'range ignored': (random, size) => ({ ignoreRange: true, cutAfter: randomInteger(random, size) }),
  'kill -9': (random, size) => ({ hangAfter: randomInteger(random, size) }),
}

describe('random faults', () => {
  test(`${FAULTS} of them never leave a wrong file, and the next try goes on`, { timeout: 3_600_000 }, async () => {
    const hub = await LoopbackHub.use()
    const outcomes: Record<string, number> = {}
    let resumed = 0
    for (let seed = 0; seed < FAULTS; seed++) {
      const random = seededRandom(seed)
      const sharded = random() < 0.3
      const files = sharded ? shardedRepository() : tinyRepository()
      const needed = sharded ? Object.keys(files).filter(path => path !== 'README.md') : NEEDED
      const commit = hub.commit(NAME, files)
      const cache = temporaryFolder()
      const kinds = Object.keys(KINDS)
      const kind = kinds[seed % kinds.length]!
      const fault = KINDS[kind]!(random, sharded ? 21_000 : 401_000)
      const what = `seed ${seed}: ${kind}`

      // The fault comes at one of the requests. Sometimes the hub recovers, sometimes it is gone from then on.
      const isGone = random() < 0.5
      const at = randomInteger(random, 12)
      const isBig = random() < 0.7
      let matching = 0
      let struck = false
      const strike = (request: Request, onHang: () => void): Fault | undefined => {
        if (struck) return isGone ? { status: 503, headers: SOON } : undefined
        if (isBig ? request.host !== 'storage' : matching++ !== at) return undefined
        struck = true
        return { ...fault, onHang }
      }
      const expected: string[] = []
      if (kind === 'kill -9') {
        const child = spawn(process.execPath, [program('fingerprint.mjs'), NAME], {
          env: { ...process.env, HF_HUB_CACHE: cache },
          stdio: 'ignore',
        })
        hub.onRequest = request => strike(request, () => child.kill('SIGKILL'))
        const { signal } = await ended(child)
        expected.push(String(signal))
      } else {
        // Patience as short as undici has it: its clock ticks once a second.
        vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', kind === 'silence' ? '1' : '600')
        hub.onRequest = request => strike(request, () => {})
        expected.push(await attempt(cache))
      }
      vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '600')
      const outcome = /^[0-9a-f]{64}$/.test(expected[0]!) ? 'ok' : expected[0]!
      expect(['ok', 'ERR_DOWNLOAD', 'SIGKILL', 'null'], what).toContain(outcome)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      expectSoundCache(cache, NAME, commit, files, needed)

      // A later try completes, and asks for no byte that is there.
      hub.onRequest = () => undefined
      hub.requests.length = 0
      const before = bytesInCache(cache, NAME)
      const total = needed.reduce((sum, path) => sum + Buffer.from(files[path]!).length, 0)
      expect(await attempt(cache), what).toMatch(/^[0-9a-f]{64}$/)
      expectSoundCache(cache, NAME, commit, files, needed)
      expect(bytesInCache(cache, NAME), what).toBe(total)
      // Bytes that were damaged on their way are found when the file is whole, and it is asked for again.
      if (kind !== 'wrong bytes') expect(hub.bytes, what).toBe(total - before)
      if (hub.downloads.some(({ headers }) => headers.range !== undefined)) resumed++
    }
    // Otherwise the faults were too tame, or too wild, to say anything.
    expect(outcomes.ok, JSON.stringify(outcomes)).toBeGreaterThan(0)
    expect(outcomes.ERR_DOWNLOAD, JSON.stringify(outcomes)).toBeGreaterThan(0)
    expect(outcomes.SIGKILL, JSON.stringify(outcomes)).toBeGreaterThan(0)
    expect(resumed, JSON.stringify(outcomes)).toBeGreaterThan(FAULTS / 30)
    console.log(`${FAULTS} faults: ${JSON.stringify(outcomes)}; ${resumed} later tries went on within a file`)
  })

  test('one download goes on over many cuts, each byte once', { timeout: 120_000 }, async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cache = temporaryFolder()
    hub.onRequest = ({ host }) => (host === 'storage' ? { cutAfter: 50_000 } : undefined)
    await attempt(cache)
    expectSoundCache(cache, NAME, commit, files, NEEDED)
    const parts = hub.requests.filter(({ host }) => host === 'storage')
    const ranges = parts.map(({ headers }) => Number(/^bytes=(\d+)-$/.exec(headers.range ?? 'bytes=0-')![1]))
    expect(parts.length).toBeGreaterThan(8)
    // What was sent before the cut may be lost on its way, but nothing that arrived is asked for again.
    for (const [i, from] of ranges.entries()) expect(from).toBeGreaterThanOrEqual(i === 0 ? 0 : ranges[i - 1]!)
    expect(ranges.at(-1)).toBeGreaterThan(300_000)
  })

  test('what a process left behind is garbage: it is found out, and the file comes whole', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const weights = Buffer.from(files['model.safetensors']!)
    for (const garbage of [Buffer.alloc(1000), Buffer.alloc(weights.length), Buffer.alloc(weights.length + 1000)]) {
      const cache = temporaryFolder()
      hub.onRequest = ({ host }) =>
        host === 'storage' ? { hangAfter: 1000, onHang: () => controller.abort() } : undefined
      const controller = new AbortController()
      await Encoder.fromPretrained(NAME, { cacheDir: cache, signal: controller.signal }).catch(() => {})
      hub.onRequest = () => undefined
      const partial = join(cache, 'models--some-org--tiny/blobs', `${sha256(weights)}.incomplete`)
      writeFileSync(partial, garbage)
      expect(await attempt(cache)).toMatch(/^[0-9a-f]{64}$/)
      expectSoundCache(cache, NAME, commit, files, NEEDED)
    }
  })
})

describe('several processes', () => {
  test('four at once download once', { timeout: 300_000 }, async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cache = temporaryFolder()
    // So slow that all of them come while the first is at it.
    hub.onRequest = ({ host }) => (host === 'storage' ? { delay: 3000 } : undefined)
    const runs = await Promise.all(
      Array.from({ length: 4 }, () => runNode([program('fingerprint.mjs'), NAME], { env: { HF_HUB_CACHE: cache } })),
    )
    expect(new Set(runs.map(({ stdout }) => stdout)).size).toBe(1)
    for (const run of runs)
      expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/) })
    expect(hub.downloads).toHaveLength(NEEDED.length)
    expect(hub.bytes).toBe(NEEDED.reduce((sum, path) => sum + Buffer.from(files[path]!).length, 0))
    expectSoundCache(cache, NAME, commit, files, NEEDED)
    expect(readdirSync(join(cache, 'models--some-org--tiny/blobs')).filter(name => /incomplete/.test(name))).toEqual([])
  })

  test('so do four loads of one process', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const cache = temporaryFolder()
    const found = await Promise.all(Array.from({ length: 4 }, () => attempt(cache)))
    expect(new Set(found).size).toBe(1)
    expect(hub.downloads).toHaveLength(NEEDED.length)
  })

  test('who waits for one that is killed takes over where it stopped', { timeout: 300_000 }, async () => {
    const hub = await LoopbackHub.use()
    const files: Files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cache = temporaryFolder()
    const size = Buffer.from(files['model.safetensors']!).length
    hub.onRequest = ({ host }) => (host === 'storage' ? { hangAfter: 200_000 } : undefined)
    const env = { ...process.env, HF_HUB_CACHE: cache }
    const first = spawn(process.execPath, [program('fingerprint.mjs'), NAME], { env, stdio: 'ignore' })
    const end = ended(first)
    const blob = join(cache, 'models--some-org--tiny/blobs', sha256(Buffer.from(files['model.safetensors']!)))
    const has = () => {
      try {
        return readFileSync(`${blob}.incomplete`).length
      } catch {
        return 0
      }
    }
    await vi.waitUntil(() => has() === 200_000, { timeout: 250_000, interval: 20 })
    hub.onRequest = () => undefined
    hub.requests.length = 0
    const second = runNode([program('fingerprint.mjs'), NAME], { env: { HF_HUB_CACHE: cache } })
    await vi.waitUntil(() => hub.requests.some(({ path }) => path.includes('/tree/')), {
      timeout: 250_000,
      interval: 20,
    })
    first.kill('SIGKILL')
    await end
    expect((await second).stdout).toMatch(/^[0-9a-f]{64}\n$/)
    const [download] = hub.requests.filter(({ host }) => host === 'storage')
    expect(download!.headers.range).toBe('bytes=200000-')
    expect(download!.sent).toBe(size - 200_000)
    expectSoundCache(cache, NAME, commit, files, NEEDED)
  })
})
