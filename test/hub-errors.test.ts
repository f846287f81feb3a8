import { existsSync, readdirSync } from 'node:fs'
import fsPromises from 'node:fs/promises'
import { createServer } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Encoder } from 'bert-layers'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ErrorCode } from '../index.d.ts'
import { expectFailure, failureOf } from './support/errors.ts'
import { type Fault, LoopbackHub, type Request } from './support/hub.ts'
import { expectSoundCache, NEEDED, tinyRepository } from './support/hub-models.ts'
import { temporaryFolder } from './support/paths.ts'

const NAME = 'some-org/tiny'
/** Tried again at once. */
const SOON = { 'retry-after': '0' }

const isApi = ({ path }: Request) => path.startsWith('/api/models/')
const isTree = ({ path }: Request) => path.includes('/tree/')
const isResolve = ({ path }: Request) => path.includes('/resolve/')
const isStorage = ({ host }: Request) => host === 'storage'
const isSmallFile = ({ path }: Request) => path.startsWith('/api/resolve-cache/')

type Where = (request: Request) => boolean

async function load(name: string, cacheDir: string, revision?: string): Promise<void> {
  await using _ = await Encoder.fromPretrained(name, { cacheDir, revision })
}

/** Replaces what the package, as every module, imports by this name. */
function setStatfs(statfs: typeof fsPromises.statfs): void {
  fsPromises.statfs = statfs
  syncBuiltinESMExports()
}

/** Every such request fails so. */
function always(where: Where, fault: Fault): (hub: LoopbackHub) => void {
  return hub => {
    hub.onRequest = request => (where(request) ? fault : undefined)
  }
}

describe('each bad answer has a sentence of its own, and leaves nothing wrong behind', () => {
  test.each<[string, (hub: LoopbackHub) => void, ErrorCode, RegExp]>([
    ['401, and no token', always(isApi, { status: 401 }), 'ERR_DOWNLOAD', /answered 401.*set HF_TOKEN/],
    [
      '401 for a model that strangers may not know of',
      hub => Object.assign(hub, { token: 'hf_x' }),
      'ERR_MODEL_NOT_FOUND',
      /answered 401.*Invalid username.*no such model, or it is private or gated.*HF_TOKEN/,
    ],
    [
      '403 for a file of a gated model',
      always(isResolve, {
        status: 403,
        headers: { 'x-error-code': 'GatedRepo', 'x-error-message': 'Access is restricted' },
      }),
      'ERR_DOWNLOAD',
      /answered 403 \(Access is restricted\): set HF_TOKEN, and accept the licence/,
    ],
    [
      '404 for a file',
      always(isResolve, { status: 404, headers: { 'x-error-code': 'EntryNotFound' } }),
      'ERR_MODEL_NOT_FOUND',
      /404.*no such file/,
    ],
    ['404 from something else', always(isApi, { status: 404 }), 'ERR_MODEL_NOT_FOUND', /404.*no such model/],
    ['429', always(isApi, { status: 429, headers: SOON }), 'ERR_DOWNLOAD', /answered 429: too many requests.*HF_TOKEN/],
    [
      '429 with a long wait',
      always(isApi, { status: 429, headers: { 'retry-after': '3600' } }),
      'ERR_DOWNLOAD',
      /answered 429/,
    ],
    [
      '429 with the end of its window',
      always(isApi, { status: 429, headers: { ratelimit: '"api";r=0;t=300' } }),
      'ERR_DOWNLOAD',
      /429/,
    ],
    ['500', always(isApi, { status: 500, headers: SOON }), 'ERR_DOWNLOAD', /answered 500: trouble on its side/],
    [
      '503 from the storage',
      always(isStorage, { status: 503, headers: SOON }),
      'ERR_DOWNLOAD',
      /model\.safetensors.*answered 503/,
    ],
    [
      '403 from the storage',
      always(isStorage, { status: 403, headers: SOON }),
      'ERR_DOWNLOAD',
      /answered 403: the storage/,
    ],
    ['418', always(isApi, { status: 418 }), 'ERR_DOWNLOAD', /answered 418.*HF_ENDPOINT/],
    [
      'HTML instead of JSON',
      always(isApi, { body: '<!DOCTYPE html><html>' }),
      'ERR_DOWNLOAD',
      /web page \(HTML\) instead of JSON.*proxy/,
    ],
    ['HTML for the list', always(isTree, { body: '<html>' }), 'ERR_DOWNLOAD', /list of files.*HTML/],
    ['half of the JSON', always(isTree, { body: '[{"type": "fi' }), 'ERR_DOWNLOAD', /instead of JSON/],
    ['JSON that is no answer', always(isApi, { body: '{"ok": true}' }), 'ERR_DOWNLOAD', /no commit/],
    [
      'a commit that is a path',
      always(isApi, { body: '{"sha": "../../../../../../../tmp/evil/aaaaaaaaaaaaaaaa"}' }),
      'ERR_DOWNLOAD',
      /no commit/,
    ],
    ['a list that is none', always(isTree, { body: '{}' }), 'ERR_DOWNLOAD', /is no list/],
    [
      'a list without hashes',
      always(isTree, { body: '[{"type": "file", "path": "config.json", "size": 3}]' }),
      'ERR_DOWNLOAD',
      /without name, size or hash/,
    ],
    ['an empty list', always(isTree, { body: '[]' }), 'ERR_MODEL_NOT_FOUND', /no config\.json/],
    [
      'a list without end',
      always(isTree, { body: '[]', headers: { link: '<?again>; rel="next"' } }),
      'ERR_DOWNLOAD',
      /has no end/,
    ],
    [
      'HTML for a file',
      always(isSmallFile, { body: '<!DOCTYPE html>', headers: { 'content-type': 'text/html; charset=utf-8' } }),
      'ERR_DOWNLOAD',
      /web page \(HTML\)/,
    ],
    ['a short file', always(isStorage, { shortenTo: 1000 }), 'ERR_DOWNLOAD', /model\.safetensors.*401632 bytes/],
    ['a long file', always(isSmallFile, { body: 'x'.repeat(100_000) }), 'ERR_DOWNLOAD', /arrives is something else/],
    [
      'a file of another hash',
      always(isStorage, { damageAt: 77_777 }),
      'ERR_DOWNLOAD',
      /model\.safetensors.*hash.*Nothing of it was kept/,
    ],
    [
      'another hash than in the list',
      always(isResolve, { status: 200, headers: { 'x-linked-etag': '"0"' } }),
      'ERR_DOWNLOAD',
      /one size and hash/,
    ],
    [
      'a redirect in a circle',
      always(isResolve, { status: 302, headers: { location: '?' } }),
      'ERR_DOWNLOAD',
      /redirects in a circle/,
    ],
    [
      'a redirect to no address',
      always(isResolve, { status: 302, headers: { location: 'file:///etc/passwd' } }),
      'ERR_DOWNLOAD',
      /no web address/,
    ],
    ['a redirect without an address', always(isResolve, { status: 302 }), 'ERR_DOWNLOAD', /answered 302/],
    [
      'connections that are cut',
      always(isStorage, { cutAfter: 0 }),
      'ERR_DOWNLOAD',
      /model\.safetensors.*broke off|could not be reached/,
    ],
    ['ranges that it does not know', always(isStorage, { status: 416 }), 'ERR_DOWNLOAD', /does not give the rest/],
  ])('%s', { timeout: 120_000 }, async (_, disturb, code, sentence) => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    disturb(hub)
    const cacheDir = temporaryFolder()
    await expectFailure(() => load(NAME, cacheDir), code, sentence, NAME)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
    expect(readdirSync(cacheDir).filter(name => !/^(\.locks|models--some-org--tiny)$/.test(name))).toEqual([])
    // And all is well again once the hub is.
    hub.onRequest = () => undefined
    hub.token = undefined
    await load(NAME, cacheDir)
    expectSoundCache(cacheDir, NAME, commit, files, NEEDED)
  })

  test('a token that may not read the model', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    hub.token = 'hf_other'
    vi.stubEnv('HF_TOKEN', 'hf_mine')
    await expectFailure(() => load(NAME, temporaryFolder()), 'ERR_MODEL_NOT_FOUND', /404/)
    hub.onRequest = () => ({ status: 403 })
    await expectFailure(
      () => load(NAME, temporaryFolder()),
      'ERR_DOWNLOAD',
      /accept the licence .* with the account of the token/,
    )
    hub.onRequest = () => ({ status: 401 })
    const error = (await failureOf(() => load(NAME, temporaryFolder()))) as Error
    expect(error.message).toMatch(/the token in use .* is not valid/)
    expect(error.message).not.toMatch(/hf_mine/)
  })

  test('a name that nobody has: where it was looked for', async () => {
    await LoopbackHub.use()
    const cacheDir = temporaryFolder()
    await expectFailure(
      () => load('no-such-model', cacheDir),
      'ERR_MODEL_NOT_FOUND',
      /no model 'no-such-model'.*check the name/,
      cacheDir,
      join(process.cwd(), 'no-such-model'),
    )
  })

  test('a revision that the model does not have, also where another one is in the cache', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const cacheDir = temporaryFolder()
    await load(NAME, cacheDir)
    await expectFailure(
      () => load(NAME, cacheDir, 'v9'),
      'ERR_MODEL_NOT_FOUND',
      /revision 'v9'.*404.*not this revision/,
    )
  })

  test('weights in formats that are not read', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, { 'config.json': '{}', 'onnx/model.onnx': 'x', 'tf_model.h5': 'x' })
    await expectFailure(
      () => load(NAME, temporaryFolder()),
      'ERR_MODEL_NOT_FOUND',
      /no weights in a format that this package reads, only onnx\/model\.onnx, tf_model\.h5/,
    )
    expect(hub.downloads).toEqual([])
  })

  test('no network at all, and nothing in the cache', async () => {
    const hub = await LoopbackHub.use()
    await hub.stop()
    const cacheDir = temporaryFolder()
    await expectFailure(() => load(NAME, cacheDir), 'ERR_DOWNLOAD', /could not be reached.*ECONNREFUSED/, cacheDir)
    vi.stubEnv('HF_ENDPOINT', 'http://hub.invalid')
    await expectFailure(() => load(NAME, cacheDir), 'ERR_DOWNLOAD', /hub\.invalid is not known here.*network/)
    expect(existsSync(join(cacheDir, 'models--some-org--tiny'))).toBe(false)
  })

  test('a hub that does not answer', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '1')
    hub.onRequest = request => (isStorage(request) ? { hangAfter: 0 } : undefined)
    await expectFailure(
      () => load(NAME, temporaryFolder()),
      'ERR_DOWNLOAD',
      /model\.safetensors of .* broke off after 0 of .*nothing came/,
    )
  })

  test('a disk without room for it', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const { statfs } = fsPromises
    onTestFinished(() => setStatfs(statfs))
    // Some disks, those of build machines among them, say that they have room for anything.
    setStatfs((async path => ({ ...(await statfs(path as string)), bsize: 512, bavail: 3 })) as typeof statfs)
    const cacheDir = temporaryFolder()
    await expectFailure(() => load(NAME, cacheDir), 'ERR_DOWNLOAD', /has 1536 bytes free, and \d+ are to be/)
    setStatfs(statfs)
    await load(NAME, cacheDir)
  })

  test.each(['ftp://x', 'nothing', 'http://h/?x=1'])('HF_ENDPOINT is %j', async endpoint => {
    vi.stubEnv('HF_HUB_OFFLINE', '')
    vi.stubEnv('HF_ENDPOINT', endpoint)
    await expectFailure(() => load(NAME, temporaryFolder()), 'ERR_DOWNLOAD', /HF_ENDPOINT is/)
  })
})

describe('names of files that lead elsewhere', () => {
  test.each([
    '../evil',
    '../../../../evil/config.json',
    '/etc/evil',
    'a/../../evil',
    '..\\evil',
    'C:\\evil',
    'a\0b',
    './x',
    'a//b',
    '',
  ])('%j in the list is refused, before anything is written', async path => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, { ...tinyRepository(), [path]: 'evil' })
    const cacheDir = temporaryFolder()
    await expectFailure(
      () => load(NAME, cacheDir),
      'ERR_DOWNLOAD',
      /has a file named .* which could lie outside its folder/,
    )
    expect(readdirSync(cacheDir)).toEqual([])
  })

  test.each([
    ['model.safetensors.index.json', { weight_map: { a: '../../../../evil.safetensors' } }],
    ['modules.json', [{ idx: 1, name: '1', path: '../../../../evil', type: 'x' }]],
  ])('in %s of the model too', async (path, contents) => {
    const hub = await LoopbackHub.use()
    const { 'model.safetensors': _, ...files } = tinyRepository()
    hub.commit(NAME, { ...files, [path]: JSON.stringify(contents) })
    await expectFailure(() => load(NAME, temporaryFolder()), 'ERR_DOWNLOAD', /evil.*which could lie outside its folder/)
  })
})

describe('where the token does not go', () => {
  /** Another host; what it is asked is kept. */
  async function stranger() {
    const asked: (string | undefined)[] = []
    const server = createServer((request, response) => {
      asked.push(request.headers.authorization)
      response.writeHead(404).end()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    return { asked, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }

  test.each<[string, Where]>([
    ['the API', isApi],
    ['a file', isResolve],
  ])('to another host that %s redirects to', async (_, where) => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    const { asked, address } = await stranger()
    hub.onRequest = request =>
      where(request) ? { status: 302, headers: { location: `${address}${request.path}` } } : undefined
    await failureOf(() => load(NAME, temporaryFolder()))
    expect(hub.requests.some(({ headers }) => headers.authorization === 'Bearer hf_secret')).toBe(true)
    expect(asked.length).toBeGreaterThan(0)
    expect(new Set(asked)).toEqual(new Set([undefined]))
  })

  test('to another host that the list names as its next page', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    const { asked, address } = await stranger()
    hub.onRequest = request =>
      isTree(request) ? { body: '[]', headers: { link: `<${address}/next>; rel="next"` } } : undefined
    await failureOf(() => load(NAME, temporaryFolder()))
    expect(asked).toEqual([undefined])
  })
})
