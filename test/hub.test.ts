import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { convert, Encoder } from 'bert-layers'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ProgressInfo } from '../index.d.ts'
import { expectFailure, failureOf } from './support/errors.ts'
import { LoopbackHub } from './support/hub.ts'
import { filesOf, gitHash, sha256 } from './support/hub-files.ts'
import {
  bytesInCache,
  expectSoundCache,
  NEEDED,
  shardedRepository,
  snapshotFiles,
  tinyRepository,
} from './support/hub-models.ts'
import { PACKAGE, program, ROOT, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { copyTinyModel } from './support/tiny-model.ts'

const NAME = 'some-org/tiny'
const PATIENCE = { timeout: 50_000, interval: 5 }

/** Loads and disposes; gives the fingerprint. */
async function load(name: string, options: Parameters<typeof Encoder.fromPretrained>[1]): Promise<string> {
  await using encoder = await Encoder.fromPretrained(name, options)
  return encoder.fingerprint
}

/** Warnings that a call leads to. */
async function warningsOf(call: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = []
  const listen = (warning: Error) => void (warning.name === 'BertLayersWarning' && warnings.push(warning.message))
  process.on('warning', listen)
  try {
    await call()
    await new Promise(setImmediate)
  } finally {
    process.off('warning', listen)
  }
  return warnings
}

describe('what is downloaded', () => {
  test('is what is needed, in the layout of the Hugging Face cache', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    await using encoder = await Encoder.fromPretrained(NAME, { cacheDir })
    expect((await encoder.encode('the river bank')).layers).toHaveLength(encoder.config.numLayers + 1)
    expect(snapshotFiles(cacheDir, NAME, commit)).toEqual(NEEDED)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
    const model = join(cacheDir, 'models--some-org--tiny')
    expect(readFileSync(join(model, 'refs/main'), 'utf8')).toBe(commit)
    const weights = join(model, 'snapshots', commit, 'model.safetensors')
    expect(readlinkSync(weights)).toBe(`../../blobs/${sha256(files['model.safetensors'] as Uint8Array)}`)
    const pooling = join(model, 'snapshots', commit, '1_Pooling/config.json')
    expect(readlinkSync(pooling)).toBe(`../../../blobs/${gitHash(Buffer.from(files['1_Pooling/config.json']!))}`)
    // Each file once, and nothing of the others.
    expect(hub.downloads).toHaveLength(NEEDED.length)
    expect(hub.bytes).toBe(NEEDED.reduce((sum, path) => sum + Buffer.from(files[path]!).length, 0))
  })

  test('the shards that the index names', async () => {
    const hub = await LoopbackHub.use()
    const files = shardedRepository()
    const commit = hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    expect(await load(NAME, { cacheDir })).toBe(
      await load(join(ROOT, 'test/fixtures/goldens-extra/weights-sharded'), {}),
    )
    const { 'README.md': _, ...needed } = files
    expect(snapshotFiles(cacheDir, NAME, commit)).toEqual(Object.keys(needed).sort())
  })

  test.each([
    [['model.safetensors.index.json', 'pytorch_model.bin'], ['pytorch_model.bin']],
    [['pytorch_model.bin', 'flax_model.msgpack', 'tf_model.h5', 'model.onnx'], ['pytorch_model.bin']],
    [['flax_model.msgpack', 'saved_model.pb', 'variables/variables.index'], ['flax_model.msgpack']],
    [
      ['saved_model.pb', 'variables/variables.index', 'variables/variables.data-00000-of-00001', 'tf_model.h5'],
      ['variables/variables.data-00000-of-00001', 'variables/variables.index'],
    ],
    [
      ['bert_model.ckpt.index', 'bert_model.ckpt.data-00000-of-00001', 'bert_model.ckpt.meta', 'bert_config.json'],
      ['bert_model.ckpt.data-00000-of-00001', 'bert_model.ckpt.index'],
    ],
  ])('one format, the best that is complete: of %j %j', async (there, chosen) => {
    const hub = await LoopbackHub.use()
    const { 'config.json': config } = tinyRepository() as Record<string, Uint8Array>
    const index = JSON.stringify({ weight_map: { a: 'model-00001-of-00001.safetensors' } })
    const weights = there.map(path => [path, path === 'model.safetensors.index.json' ? index : path])
    const commit = hub.commit(NAME, { 'config.json': config!, ...Object.fromEntries(weights) })
    const cacheDir = temporaryFolder()
    // What is in these files is no model: that is for the loader to say, once they are there.
    await failureOf(() => load(NAME, { cacheDir }))
    const found = snapshotFiles(cacheDir, NAME, commit).filter(path => path !== 'model.safetensors.index.json')
    expect(found).toEqual([...chosen, 'config.json'].sort())
  })

  test('a vocabulary where there is no tokenizer.json', async () => {
    const hub = await LoopbackHub.use()
    const { 'tokenizer.json': _, ...files } = tinyRepository()
    const commit = hub.commit(NAME, { ...files, 'vocab.txt': files['vocab.txt']!, 'sentencepiece.bpe.model': 'x' })
    const cacheDir = temporaryFolder()
    await failureOf(() => load(NAME, { cacheDir })) // that vocabulary has no [UNK]
    const needed = [...NEEDED.filter(path => path !== 'tokenizer.json'), 'vocab.txt']
    expect(snapshotFiles(cacheDir, NAME, commit)).toEqual(needed.sort())
  })

  test('through copies where links are impossible', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', '1')
    const fingerprint = await load(NAME, { cacheDir })
    const weights = join(cacheDir, 'models--some-org--tiny/snapshots', commit, 'model.safetensors')
    expect(lstatSync(weights).isFile()).toBe(true)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
    const asked = hub.requests.length
    expect(await load(NAME, { cacheDir })).toBe(fingerprint)
    expect(hub.requests.length).toBe(asked + 1)
  })
})

test('convert finds by name what a load finds', async () => {
  const hub = await LoopbackHub.use()
  const commit = hub.commit(NAME, tinyRepository())
  const cacheDir = temporaryFolder()
  const target = join(temporaryFolder(), 'model')
  await convert(NAME, target, { cacheDir })
  expect(snapshotFiles(cacheDir, NAME, commit)).toEqual(NEEDED)
  hub.requests.length = 0
  expect(await load(target, {})).toBe(await load(NAME, { cacheDir, localFilesOnly: true }))
  const where = { cacheDir, localFilesOnly: true }
  const other = () => convert('some-org/other', `${target}-2`, where)
  await expectFailure(other, 'ERR_MODEL_NOT_FOUND', /localFilesOnly is true/)
  expect(hub.requests).toEqual([])
})

describe('a model that is in the cache', () => {
  test('costs one request for what the branch stands for, and none for a commit', async () => {
    const hub = await LoopbackHub.use()
    const commit = hub.commit(NAME, tinyRepository())
    const cacheDir = temporaryFolder()
    const fingerprint = await load(NAME, { cacheDir })
    hub.requests.length = 0
    expect(await load(NAME, { cacheDir })).toBe(fingerprint)
    expect(hub.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /api/models/some-org/tiny/revision/main',
    ])
    expect(await load(NAME, { cacheDir, revision: commit })).toBe(fingerprint)
    expect(hub.requests).toHaveLength(1)
  })

  test('is updated when the branch moves on; what has not changed is not downloaded again', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const cacheDir = temporaryFolder()
    await load(NAME, { cacheDir })
    hub.requests.length = 0
    const changed = tinyRepository('bert-relu')
    const commit = hub.commit(NAME, { ...changed, 'README.md': 'newer' })
    await load(NAME, { cacheDir })
    expect(hub.downloads).toHaveLength(2) // weights and config.json
    expect(snapshotFiles(cacheDir, NAME, commit)).toEqual(NEEDED)
    expect(readFileSync(join(cacheDir, 'models--some-org--tiny/refs/main'), 'utf8')).toBe(commit)
  })

  test.each<[string, (hub: LoopbackHub) => unknown, RegExp]>([
    ['there is no network', hub => hub.stop(), /could not be reached: .*ECONNREFUSED/],
    [
      'the hub is in trouble',
      hub => Object.assign(hub, { onRequest: () => ({ status: 503 }) }),
      /answered 503: trouble/,
    ],
    ['a login page answers', hub => Object.assign(hub, { onRequest: () => ({ body: '<!DOCTYPE html>' }) }), /HTML/],
    ['the token is of no use any more', hub => Object.assign(hub, { token: 'hf_new' }), /answered 401.*HF_TOKEN/],
  ])('is used when %s, and a warning says why', async (_, disturb, reason) => {
    const hub = await LoopbackHub.use()
    const commit = hub.commit(NAME, tinyRepository())
    const cacheDir = temporaryFolder()
    const fingerprint = await load(NAME, { cacheDir })
    await disturb(hub)
    let found: string | undefined
    const warnings = await warningsOf(async () => {
      found = await load(NAME, { cacheDir })
    })
    expect(found).toBe(fingerprint)
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(reason)
    expect(warnings[0]).toContain(commit)
  })

  test('needs no network with HF_HUB_OFFLINE or localFilesOnly, which forbid it', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const cacheDir = temporaryFolder()
    const fingerprint = await load(NAME, { cacheDir })
    hub.requests.length = 0
    expect(await load(NAME, { cacheDir, localFilesOnly: true })).toBe(fingerprint)
    await expectFailure(
      () => load('some-org/other', { cacheDir, localFilesOnly: true }),
      'ERR_MODEL_NOT_FOUND',
      /models--some-org--other.*localFilesOnly/,
    )
    vi.stubEnv('HF_HUB_OFFLINE', 'yes')
    expect(await load(NAME, { cacheDir })).toBe(fingerprint)
    await expectFailure(
      () => load('some-org/other', { cacheDir }),
      'ERR_MODEL_NOT_FOUND',
      /models--some-org--other.*HF_HUB_OFFLINE is set/,
    )
    expect(hub.requests).toEqual([])
  })

  test('is completed, if Python has a part of it; the weights that it has are not downloaded again', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    const snapshot = join(cacheDir, 'models--some-org--tiny/snapshots', commit)
    mkdirSync(snapshot, { recursive: true })
    for (const path of ['config.json', 'model.safetensors']) writeFileSync(join(snapshot, path), files[path]!)
    await load(NAME, { cacheDir })
    expect(hub.downloads).toHaveLength(NEEDED.length - 2)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
  })

  test('is repaired where a file has another size than the hub states', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    await load(NAME, { cacheDir })
    const model = join(cacheDir, 'models--some-org--tiny')
    writeFileSync(join(model, 'blobs', sha256(files['model.safetensors'] as Uint8Array)), 'cut short')
    // Something else is missing, so that the list is asked for.
    unlinkSync(join(model, 'snapshots', commit, '1_Pooling/config.json'))
    await load(NAME, { cacheDir })
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
  })
})

describe('names and revisions', () => {
  test('a branch, a tag, a pull request and a commit', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const commit = hub.commit(NAME, tinyRepository('bert-relu'), 'v2')
    hub.commit(NAME, tinyRepository('bert-gelu_new'), 'refs/pr/1')
    const cacheDir = temporaryFolder()
    const [main, v2, pull, byCommit] = [
      await load(NAME, { cacheDir }),
      await load(NAME, { cacheDir, revision: 'v2' }),
      await load(NAME, { cacheDir, revision: 'refs/pr/1' }),
      await load(NAME, { cacheDir, revision: commit }),
    ]
    expect(new Set([main, v2, pull]).size).toBe(3)
    expect(byCommit).toBe(v2)
    expect(readFileSync(join(cacheDir, 'models--some-org--tiny/refs/refs/pr/1'), 'utf8')).toMatch(/^[0-9a-f]{40}$/)
  })

  test('a name that has become another', async () => {
    const hub = await LoopbackHub.use()
    hub.commit('google/tiny', tinyRepository())
    hub.move('tiny', 'google/tiny')
    hub.token = 'hf_secret'
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    const cacheDir = temporaryFolder()
    await load('tiny', { cacheDir })
    expect(readFileSync(join(cacheDir, 'models--tiny/refs/main'), 'utf8')).toMatch(/^[0-9a-f]{40}$/)
  })

  test.each(['../../x', '..', '/etc', 'a//b', 'a/../b', 'a\\b', 'a b', 'x.lock', '.x', 'a\0b', 'a:b'])(
    'a revision cannot be %j',
    async revision => {
      const hub = await LoopbackHub.use()
      await expectFailure(() => load(NAME, { revision }), 'ERR_INVALID_INPUT', /revision/)
      expect(hub.requests).toEqual([])
    },
  )

  test.each(['../x', 'a/b/c', 'a..b/c', '/etc/x', 'a\\b', 'a b', './a', 'a/', '-a', 'org/x.git', 'a--b', 'http://x/y'])(
    '%j is no name of a hub: nobody is asked',
    async name => {
      const hub = await LoopbackHub.use()
      await expectFailure(() => load(name, {}), 'ERR_MODEL_NOT_FOUND')
      expect(hub.requests).toEqual([])
    },
  )
})

describe('no network is touched', () => {
  test('by a folder, an installed package or the default model', async () => {
    const hub = await LoopbackHub.use()
    const folder = copyTinyModel(temporaryFolder())
    await load(folder, {})
    await load('all-MiniLM-L6-v2', {})
    await load('@bert-layers/all-minilm-l6-v2', {})
    await using byDefault = await Encoder.fromPretrained()
    expect(byDefault.config.numLayers).toBe(6)
    await expectFailure(() => load(join(folder, 'nothing'), {}), 'ERR_MODEL_NOT_FOUND')
    await expectFailure(() => load(temporaryFolder(), {}), 'ERR_MODEL_NOT_FOUND')
    expect(hub.requests).toEqual([])
  })

  test('nor is the HTTP client loaded', async () => {
    const script = `
      import { createRequire } from 'node:module'
      const { Encoder } = await import(${JSON.stringify(join(PACKAGE, 'dist/index.js'))})
      await (await Encoder.fromPretrained()).dispose()
      console.log(Object.keys(createRequire('/').cache).filter(path => path.includes('undici')).length)`
    const { stdout, stderr } = await runNode(['--input-type=module', '-e', script], { env: { HF_HUB_OFFLINE: '' } })
    expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' })
  })
})

describe('progressCallback', () => {
  test('tells of each file as transformers.js does', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    const events: ProgressInfo[] = []
    await load(NAME, { cacheDir, progressCallback: info => events.push(info) })
    expect(new Set(events.map(({ file }) => file))).toEqual(new Set(NEEDED))
    for (const path of NEEDED) {
      const total = Buffer.from(files[path]!).length
      const ofFile = events.filter(({ file }) => file === path)
      expect(ofFile.every(({ name }) => name === NAME)).toBe(true)
      const steps = ofFile.map(({ status }) => status)
      expect(steps.slice(0, 3)).toEqual(['initiate', 'download', 'progress'])
      expect(steps.at(-1)).toBe('done')
      expect(ofFile.at(-2)).toEqual({ status: 'progress', name: NAME, file: path, progress: 100, loaded: total, total })
      const loaded = ofFile.flatMap(info => (info.status === 'progress' ? [info.loaded] : []))
      expect(loaded).toEqual(loaded.toSorted((a, b) => a - b))
    }
    events.length = 0
    await load(NAME, { cacheDir, progressCallback: info => events.push(info) })
    expect(events).toEqual([])
  })

  test('that throws ends the load with what it threw', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const error = new Error('enough')
    const progressCallback = () => {
      throw error
    }
    expect(await failureOf(() => load(NAME, { cacheDir: temporaryFolder(), progressCallback }))).toBe(error)
  })

  test('must be a function', async () => {
    // @ts-expect-error: that is the point
    await expectFailure(() => load(NAME, { progressCallback: true }), 'ERR_INVALID_INPUT', /progressCallback/)
  })
})

describe('signal', () => {
  test('ends a download with its reason; the next one goes on where it stopped', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const cacheDir = temporaryFolder()
    const controller = new AbortController()
    const size = Buffer.from(files['model.safetensors']!).length
    const reason = new Error('changed my mind')
    hub.onRequest = ({ host }) => (host === 'storage' ? { hangAfter: 200_000 } : undefined)
    const failure = failureOf(() => load(NAME, { cacheDir, signal: controller.signal }))
    await vi.waitUntil(() => bytesInCache(cacheDir, NAME) >= 200_000, PATIENCE)
    controller.abort(reason)
    expect(await failure).toBe(reason)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
    hub.onRequest = () => undefined
    hub.requests.length = 0
    await load(NAME, { cacheDir })
    const [download] = hub.requests.filter(({ host }) => host === 'storage')
    expect(download!.headers.range).toBe('bytes=200000-')
    expect(download!.sent).toBe(size - 200_000)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
  })

  test('leaves no listener behind, and ends the wait for another process', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const cacheDir = temporaryFolder()
    hub.onRequest = ({ host }) => (host === 'storage' ? { hangAfter: 100_000 } : undefined)
    const [first, second] = [new AbortController(), new AbortController()]
    const removed = vi.spyOn(second.signal, 'removeEventListener')
    const failure = failureOf(() => load(NAME, { cacheDir, signal: first.signal }))
    await vi.waitUntil(() => bytesInCache(cacheDir, NAME) >= 100_000, PATIENCE)
    const waiting = failureOf(() =>
      load(NAME, { cacheDir, signal: second.signal, progressCallback: () => second.abort('b') }),
    )
    expect(await waiting).toBe('b')
    expect(removed).toHaveBeenCalled()
    first.abort('a')
    expect(await failure).toBe('a')
  })
})

describe('the token', () => {
  test.each<[string, (home: string) => void]>([
    ['HF_TOKEN', () => vi.stubEnv('HF_TOKEN', 'hf_secret')],
    ['the file that `hf auth login` writes', home => writeFileSync(join(home, 'token'), 'hf_secret\n')],
  ])('is that of %s, and goes to the hub only', async (_, set) => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    hub.token = 'hf_secret'
    set(process.env.HF_HOME!)
    await load(NAME, { cacheDir: temporaryFolder() })
    const sent = (host: string) =>
      hub.requests.filter(request => request.host === host).map(({ headers }) => headers.authorization)
    expect(new Set(sent('hub'))).toEqual(new Set(['Bearer hf_secret']))
    expect(new Set(sent('storage'))).toEqual(new Set([undefined]))
  })

  test('is not shown when it is no token', async () => {
    await LoopbackHub.use()
    vi.stubEnv('HF_TOKEN', 'hf_secret\u00e9')
    const error = (await failureOf(() => load(NAME, {}))) as Error
    expect(error.message).toMatch(/HF_TOKEN/)
    expect(error.message).not.toMatch(/secret/)
  })
})

describe('nothing is written outside the cache', () => {
  test.each(['snapshots', 'blobs', 'refs', 'snapshots/COMMIT/1_Pooling'])(
    'through a link in place of %s',
    async place => {
      const hub = await LoopbackHub.use()
      const commit = hub.commit(NAME, tinyRepository())
      const [cacheDir, outside] = [temporaryFolder(), temporaryFolder()]
      const link = join(cacheDir, 'models--some-org--tiny', place.replace('COMMIT', commit))
      mkdirSync(join(link, '..'), { recursive: true })
      symlinkSync(outside, link)
      const error = await failureOf(() => load(NAME, { cacheDir })).catch(() => undefined)
      if (place !== 'refs') expect((error as Error).message).toMatch(/link out of the cache/)
      expect(Object.keys(filesOf(outside, true))).toEqual([])
    },
  )

  test('a model whose folder is a link to another disk is one all the same', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const [cacheDir, other] = [temporaryFolder(), temporaryFolder()]
    symlinkSync(other, join(cacheDir, 'models--some-org--tiny'))
    await load(NAME, { cacheDir })
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
  })
})

// Nothing is forbidden to root.
test.skipIf(process.getuid?.() === 0)('a cache for reading only serves what it has', async () => {
  const hub = await LoopbackHub.use()
  const commit = hub.commit(NAME, tinyRepository())
  const cacheDir = temporaryFolder()
  const fingerprint = await load(NAME, { cacheDir })
  rmSync(join(cacheDir, 'models--some-org--tiny/refs/main'))
  const folders = ['', 'refs', 'blobs', 'snapshots', `snapshots/${commit}`].map(path =>
    join(cacheDir, 'models--some-org--tiny', path),
  )
  for (const folder of folders) chmodSync(folder, 0o555)
  onTestFinished(() => folders.forEach(folder => void chmodSync(folder, 0o755)))
  expect(await load(NAME, { cacheDir })).toBe(fingerprint)
})

test('HF_HUB_CACHE and HF_HOME name the cache, for TypeScript and for Rust alike', async () => {
  const hub = await LoopbackHub.use()
  hub.commit(NAME, tinyRepository())
  const [cache, home, xdg, user] = Array.from({ length: 4 }, temporaryFolder) as [string, string, string, string]
  const none = {
    HF_HUB_CACHE: '',
    HUGGINGFACE_HUB_CACHE: '',
    HF_HOME: '',
    XDG_CACHE_HOME: '',
    HOME: user,
    USERPROFILE: user,
  }
  const places: [NodeJS.ProcessEnv, string][] = [
    [{ HF_HUB_CACHE: cache, HF_HOME: home }, cache],
    [{ HF_HOME: home, XDG_CACHE_HOME: xdg }, join(home, 'hub')],
    [{ XDG_CACHE_HOME: xdg }, join(xdg, 'huggingface/hub')],
    [{}, join(user, '.cache/huggingface/hub')],
    [{ HUGGINGFACE_HUB_CACHE: '~/old' }, join(user, 'old')],
  ]
  for (const [variables, place] of places) {
    const env = { ...none, ...variables }
    const downloaded = await runNode([program('fingerprint.mjs'), NAME], { env })
    expect(downloaded.stderr).toBe('')
    expect(readFileSync(join(place, 'models--some-org--tiny/refs/main'), 'utf8')).toMatch(/^[0-9a-f]{40}$/)
    // Offline it is Rust that looks.
    const found = await runNode([program('fingerprint.mjs'), NAME], { env: { ...env, HF_HUB_OFFLINE: '1' } })
    expect(found.stdout).toBe(downloaded.stdout)
  }
})
