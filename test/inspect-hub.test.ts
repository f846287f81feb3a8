/** What inspect says of a model by its name on the hub: before it is downloaded, when a part of it is there, and after. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Encoder, type Inspection, inspect } from 'bert-layers'
import { expect, test, vi } from 'vitest'
import { expectFailure } from './support/errors.ts'
import { LoopbackHub } from './support/hub.ts'
import { type Files, filesOf, sha256 } from './support/hub-files.ts'
import { NEEDED, shardedRepository, tinyRepository } from './support/hub-models.ts'
import { CLI, ROOT, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'

const NAME = 'some-org/tiny'

/** What is known of a model wherever it is. */
function gist({ modelType, config, parameters, headParameters, heads, hasPooler, pooling, memory }: Inspection) {
  return { modelType, config, parameters, headParameters, heads, hasPooler, pooling, memory }
}

function sizeOf(files: Files, path: string): number {
  return Buffer.from(files[path]!).length
}

test('a model that is not in the cache: what it is, and what would be downloaded; nothing is', async () => {
  const hub = await LoopbackHub.use()
  const files = tinyRepository()
  const commit = hub.commit(NAME, files)
  const cacheDir = temporaryFolder()
  const seen = await inspect(NAME, { cacheDir })
  expect(readdirSync(cacheDir)).toEqual([])

  const folder = join(cacheDir, 'models--some-org--tiny/snapshots', commit)
  expect(seen.folder).toBe(folder)
  expect(seen.download?.commit).toBe(commit)
  const expected = NEEDED.map(file => ({ file, bytes: sizeOf(files, file), cachedBytes: 0 }))
  expect(seen.download?.files.toSorted((a, b) => (a.file < b.file ? -1 : 1))).toEqual(expected)
  const bytes = expected.reduce((sum, file) => sum + file.bytes, 0)
  expect(seen.download).toMatchObject({ bytes, missingBytes: bytes })
  // Of the weights their beginning; the tokenizer not at all.
  const weights = hub.downloads.filter(({ path }) => path.startsWith('/storage/'))
  expect(weights.map(({ headers }) => headers.range)).toEqual(['bytes=0-131071'])
  expect(hub.requests.some(({ path }) => path.includes('tokenizer.json'))).toBe(false)

  expect(seen.weights).toMatchObject([
    { format: 'safetensors', file: 'model.safetensors', bytes: sizeOf(files, 'model.safetensors') },
    { format: 'pytorch', file: 'pytorch_model.bin', bytes: 10, dtypes: {} },
    { format: 'flax', file: 'flax_model.msgpack', bytes: 10, dtypes: {} },
  ])
  expect(seen.notices).toEqual([
    'model.safetensors would be downloaded; pytorch_model.bin is there too and is left aside',
    'model.safetensors would be downloaded; flax_model.msgpack is there too and is left aside',
  ])
  expect(seen).toMatchObject({ tokenizer: { file: 'tokenizer.json' }, pooling: 'mean' })

  // The same that is said once it is there, without a byte more.
  await (await Encoder.fromPretrained(NAME, { cacheDir })).dispose()
  hub.requests.length = 0
  const then = await inspect(NAME, { cacheDir })
  expect(hub.downloads).toEqual([])
  expect(gist(then)).toEqual(gist(seen))
  expect(then.weights[0]).toEqual(seen.weights[0])
  expect(then.folder).toBe(folder)
  expect(then.download).toMatchObject({ commit, bytes, missingBytes: 0 })
  expect(then.download?.files.map(({ file }) => file).sort()).toEqual(NEEDED)
  expect(then.tokenizer).toMatchObject({ file: 'tokenizer.json', kind: 'WordPiece' })
})

test('of shards, each one is looked at', async () => {
  const hub = await LoopbackHub.use()
  const files = shardedRepository()
  hub.commit(NAME, files)
  const cacheDir = temporaryFolder()
  const seen = await inspect(NAME, { cacheDir })
  await (await Encoder.fromPretrained(NAME, { cacheDir })).dispose()
  const then = await inspect(NAME, { cacheDir })
  expect(then.download?.missingBytes).toBe(0)
  expect(gist(seen)).toEqual(gist(then))
  expect(seen.weights).toEqual(then.weights)
  expect(seen.weights[0]?.file).toBe('model.safetensors.index.json')
})

test('a part of it is there: what an earlier download left counts', async () => {
  const hub = await LoopbackHub.use()
  const files = tinyRepository()
  hub.commit(NAME, files)
  const cacheDir = temporaryFolder()
  const blobs = join(cacheDir, 'models--some-org--tiny/blobs')
  mkdirSync(blobs, { recursive: true })
  const weights = Buffer.from(files['model.safetensors']!)
  writeFileSync(join(blobs, `${sha256(weights)}.incomplete`), weights.subarray(0, 1000))
  const { download } = await inspect(NAME, { cacheDir })
  expect(download?.files.find(({ file }) => file === 'model.safetensors')).toEqual({
    file: 'model.safetensors',
    bytes: weights.length,
    cachedBytes: 1000,
  })
  expect(download?.missingBytes).toBe(download!.bytes - 1000)
})

test('weights in another format: their numbers are known when they are there', async () => {
  const hub = await LoopbackHub.use()
  const files = filesOf(join(ROOT, 'test/fixtures/formats/pytorch-zip'))
  hub.commit(NAME, files)
  const cacheDir = temporaryFolder()
  const seen = await inspect(NAME, { cacheDir })
  const bytes = sizeOf(files, 'pytorch_model.bin')
  expect(seen.weights).toEqual([{ format: 'pytorch', file: 'pytorch_model.bin', bytes, dtypes: {} }])
  expect(seen).toMatchObject({ modelType: 'bert', config: { numLayers: 2, hiddenSize: 24 }, parameters: 0, memory: {} })
  expect(seen.notices.join()).toMatch(/known once pytorch_model\.bin is downloaded/)
  expect(seen.notices.join()).toMatch(/no tokenizer that is read/)
  expect(hub.bytes).toBe(sizeOf(files, 'config.json'))
})

test('a model that cannot be loaded is shown, with the reason', async () => {
  const hub = await LoopbackHub.use()
  hub.commit(NAME, { ...tinyRepository(), 'config.json': '{"model_type":"gpt2"}' })
  const seen = await inspect(NAME, { cacheDir: temporaryFolder() })
  expect(seen).toMatchObject({ modelType: 'gpt2', config: undefined, memory: {} })
  expect(seen.notices.join()).toMatch(/'gpt2' is not supported; supported: bert/)

  hub.commit(NAME, { ...tinyRepository(), 'model.safetensors': 'no safetensors at all' })
  const damaged = await inspect(NAME, { cacheDir: temporaryFolder() })
  expect(damaged.weights[0]).toEqual({ format: 'safetensors', file: 'model.safetensors', bytes: 21, dtypes: {} })
  expect(damaged.notices.join()).toMatch(/model\.safetensors.*no safetensors file, or cut short/)
})

test('without the network it says what the cache has, and why it did not ask', async () => {
  const hub = await LoopbackHub.use()
  hub.commit(NAME, tinyRepository())
  const cacheDir = temporaryFolder()
  await (await Encoder.fromPretrained(NAME, { cacheDir })).dispose()
  hub.requests.length = 0
  const { download, notices } = await inspect(NAME, { cacheDir, localFilesOnly: true })
  expect(download).toBeUndefined()
  expect(notices).toEqual(['this is what the cache has, because option localFilesOnly is true'])
  vi.stubEnv('HF_HUB_OFFLINE', '1')
  const offline = await inspect(NAME, { cacheDir })
  expect(offline.notices).toEqual(['this is what the cache has, because HF_HUB_OFFLINE is set'])
  await expectFailure(() => inspect('some-org/other', { cacheDir }), 'ERR_MODEL_NOT_FOUND', /HF_HUB_OFFLINE is set/)
  expect(hub.requests).toEqual([])

  vi.stubEnv('HF_HUB_OFFLINE', '')
  await hub.stop()
  const cut = await inspect(NAME, { cacheDir })
  expect(cut.notices.join()).toMatch(/what the cache has, which may not be the newest: .*could not be reached/)
  expect(cut.download?.missingBytes).toBe(0)
  await expectFailure(() => inspect('some-org/other', { cacheDir }), 'ERR_DOWNLOAD', /could not be reached/)
})

test('what the hub says against it is said as for a load', async () => {
  const hub = await LoopbackHub.use()
  const { 'model.safetensors': _, 'pytorch_model.bin': __, 'flax_model.msgpack': ___, ...bare } = tinyRepository()
  hub.commit(NAME, bare)
  const cacheDir = temporaryFolder()
  await expectFailure(() => inspect(NAME, { cacheDir }), 'ERR_MODEL_NOT_FOUND', /no weights.*tf_model\.h5/)
  await expectFailure(() => inspect('some-org/none', { cacheDir }), 'ERR_MODEL_NOT_FOUND', /there is no such model/)
  await expectFailure(() => inspect(NAME, { cacheDir, revision: 'v9' }), 'ERR_MODEL_NOT_FOUND', /not this revision/)
  hub.commit(NAME, tinyRepository())
  hub.onRequest = ({ path }) => (path.includes('config.json') ? { body: '{"model_type": "another"}' } : undefined)
  await expectFailure(() => inspect(NAME, { cacheDir }), 'ERR_DOWNLOAD', /config\.json of some-org\/tiny/)
  expect(readdirSync(cacheDir)).toEqual([])
})

test('a range that the hub does not look at, and a cut, change nothing', async () => {
  const hub = await LoopbackHub.use()
  hub.commit(NAME, tinyRepository())
  const cacheDir = temporaryFolder()
  const expected = await inspect(NAME, { cacheDir })
  hub.onRequest = ({ host }) => (host === 'storage' ? { ignoreRange: true } : undefined)
  expect(await inspect(NAME, { cacheDir })).toEqual(expected)
  let cuts = 0
  hub.onRequest = ({ host }) => (host === 'storage' && cuts++ === 0 ? { cutAfter: 100 } : undefined)
  expect(await inspect(NAME, { cacheDir })).toEqual(expected)
  expect(cuts).toBe(2)
})

test('on the command line, what would be downloaded file by file', async () => {
  const hub = await LoopbackHub.use()
  const files = tinyRepository()
  const commit = hub.commit(NAME, files)
  const cacheDir = temporaryFolder()
  const inspected = () => runNode([CLI, 'inspect', NAME, '--cache-dir', cacheDir])
  const before = await inspected()
  expect(before).toMatchObject({ code: 0, stderr: '' })
  expect(before.stdout).toMatch(
    new RegExp(`download +8 files, 0\\.\\d MB, 0\\.\\d MB to be downloaded; commit ${commit}`),
  )
  for (const file of NEEDED) expect(before.stdout).toMatch(new RegExp(`^ {15}${file}, \\d+\\.\\d MB$`, 'm'))
  await (await Encoder.fromPretrained(NAME, { cacheDir })).dispose()
  const { stdout } = await inspected()
  expect(stdout).toMatch(/download +8 files, 0\.\d MB, all of it in the cache/)
  expect(stdout).not.toMatch(/^ {15}config\.json/m)
  expect(readFileSync(join(cacheDir, 'models--some-org--tiny/refs/main'), 'utf8')).toBe(commit)
})
