/** Proxies, TLS, and the command line: in processes of their own, whose environment is read when they start. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type * as Progress from '../ts/cli/progress.ts'
import { LoopbackHub } from './support/hub.ts'
import { expectSoundCache, NEEDED, tinyRepository } from './support/hub-models.ts'
import { CLI, goldenFolder, PACKAGE, temporaryFolder } from './support/paths.ts'
import { type Ended, runNode } from './support/process.ts'

const { progressBar } = (await import(join(PACKAGE, 'dist/cli/progress.js'))) as typeof Progress
const NAME = 'some-org/tiny'

function encode(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return runNode([CLI, 'encode', 'the river', '--layers', '0', '--model', ...args], { env })
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A proxy that knows the name hub.test, which nobody else does. */
async function startProxy(hub: LoopbackHub) {
  const asked: { target: string; authorization: string | undefined }[] = []
  const server = createServer((_, response) => void response.writeHead(400).end())
  server.on('connect', (request, client: Socket, head: Buffer) => {
    const target = request.url!
    asked.push({ target, authorization: request.headers['proxy-authorization'] })
    const { hostname, port } = new URL(target.startsWith('hub.test') ? hub.endpoint : `http://${target}`)
    const upstream = connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.write(head)
      upstream.pipe(client).pipe(upstream)
    })
    for (const socket of [client, upstream]) socket.on('error', () => socket.destroy())
  })
  return { asked, address: await listen(server) }
}

describe('proxies', () => {
  test('HTTP_PROXY and HTTPS_PROXY are used, with their password; NO_PROXY excepts hosts', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    const commit = hub.commit(NAME, files)
    const { asked, address } = await startProxy(hub)
    const cache = temporaryFolder()
    const env = {
      HF_ENDPOINT: 'http://hub.test',
      HTTP_PROXY: `http://user:pass%20word@${address}`,
      HF_HUB_CACHE: cache,
    }
    const run = await encode([NAME], { ...env, NO_PROXY: '' })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    expectSoundCache(cache, NAME, commit, files, NEEDED)
    const targets = new Set(asked.map(({ target }) => target))
    expect(targets).toEqual(new Set(['hub.test:80', hub.storage.replace('http://', '')]))
    const credentials = Buffer.from('user:pass word').toString('base64')
    expect(new Set(asked.map(({ authorization }) => authorization))).toEqual(new Set([`Basic ${credentials}`]))

    asked.length = 0
    const excepted = { ...env, HF_HUB_CACHE: temporaryFolder(), NO_PROXY: 'other, 127.0.0.1' }
    expect(await encode([NAME], excepted)).toMatchObject({ code: 0 })
    expect(new Set(asked.map(({ target }) => target))).toEqual(new Set(['hub.test:80']))
    asked.length = 0
    const none = { ...env, HF_HUB_CACHE: temporaryFolder(), NO_PROXY: '*', HF_ENDPOINT: hub.endpoint }
    expect(await encode([NAME], none)).toMatchObject({ code: 0 })
    expect(asked).toEqual([])
  })

  test('one that is no address is said to be none, and its password is not shown', async () => {
    await LoopbackHub.use()
    const { code, stderr } = await encode([NAME], { ALL_PROXY: 'socks5://user:secret@127.0.0.1:1', NO_PROXY: '' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ERR_DOWNLOAD: .*HTTP_PROXY or ALL_PROXY/)
    expect(stderr).not.toMatch(/secret/)
  })

  test('one that refuses is a failure that says so', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const server = createServer()
    server.on('connect', (_, client: Socket) => void client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'))
    const { code, stderr } = await encode([NAME], { HTTP_PROXY: `http://${await listen(server)}`, NO_PROXY: '' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ERR_DOWNLOAD: .*407/)
  })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

describe.skipIf(!hasOpenssl)('TLS', () => {
  /** A server of https, and its certificate, which nobody trusts by itself. */
  async function startTls(answer: RequestListener) {
    const folder = temporaryFolder()
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate, '-days', '2']
    const made = spawnSync('openssl', [...args, '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'])
    expect(made.status, String(made.stderr)).toBe(0)
    const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(certificate) }, answer)
    return { certificate, endpoint: `https://${await listen(server)}` }
  }

  test('a certificate that is not trusted, and how to trust it', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const { certificate, endpoint } = await startTls((_, response) => void response.writeHead(418).end())
    const refused = await encode([NAME], { HF_ENDPOINT: endpoint })
    expect(refused.stderr).toMatch(/^ERR_DOWNLOAD: .*certificate is not trusted.*NODE_EXTRA_CA_CERTS/)
    const trusted = await encode([NAME], { HF_ENDPOINT: endpoint, NODE_EXTRA_CA_CERTS: certificate })
    expect(trusted.stderr).toMatch(/^ERR_DOWNLOAD: .*418/)
  })

  test('a redirect to http is refused: neither the token nor anything else goes there', async () => {
    const hub = await LoopbackHub.use()
    hub.commit(NAME, tinyRepository())
    const { certificate, endpoint } = await startTls((request, response) => {
      response.writeHead(302, { location: `${hub.endpoint}${request.url}` }).end()
    })
    const env = { HF_ENDPOINT: endpoint, NODE_EXTRA_CA_CERTS: certificate, HF_TOKEN: 'hf_secret' }
    const { stderr } = await encode([NAME], env)
    expect(stderr).toMatch(/^ERR_DOWNLOAD: .*without encryption \(http\): refused/)
    expect(hub.requests).toEqual([])
  })
})

describe('the command line', () => {
  test('--revision, --cache-dir, --local-files-only', async () => {
    const hub = await LoopbackHub.use()
    const files = tinyRepository()
    hub.commit(NAME, tinyRepository('bert-relu'))
    const commit = hub.commit(NAME, files, 'v2')
    const cache = temporaryFolder()
    const there = [NAME, '--revision', commit, '--cache-dir', cache]
    expect((await encode([...there, '--local-files-only'])).stderr).toMatch(
      /^ERR_MODEL_NOT_FOUND: .*--local-files-only/,
    )
    const first = await encode(there)
    expect(first).toMatchObject({ code: 0, stderr: '' }) // no bar: this is no terminal
    hub.requests.length = 0
    expect(await encode([...there, '--local-files-only'])).toEqual(first)
    expect(hub.requests).toEqual([])
    for (const option of ['--revision', '--cache-dir']) {
      expect(await encode([goldenFolder('bert'), option, ''])).toMatchObject({ code: 2 })
    }
  })

  test('a failure begins with its code', async () => {
    const hub = await LoopbackHub.use()
    await hub.stop()
    const { code, stderr } = await encode([NAME, '--cache-dir', temporaryFolder()])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ERR_DOWNLOAD: cannot download the model 'some-org\/tiny': .*ECONNREFUSED/)
  })

  test('a bar for all files on a terminal, and nothing elsewhere', () => {
    const output: string[] = []
    const terminal = { isTTY: true, columns: 90, write: (text: string) => output.push(text) }
    const bar = progressBar(terminal)
    bar.update({ status: 'initiate', name: NAME, file: 'a' })
    expect(output).toEqual([])
    bar.update({ status: 'progress', name: NAME, file: 'a', progress: 50, loaded: 1e6, total: 2e6 })
    bar.update({ status: 'progress', name: NAME, file: 'b', progress: 0, loaded: 0, total: 2e6 })
    bar.end()
    expect(output.map(text => text.replace('\r\u001b[K', ''))).toEqual([
      `${NAME} ${'█'.repeat(15)}${'░'.repeat(15)} 50% of 2.0 MB`,
      `${NAME} ${'█'.repeat(7)}${'░'.repeat(23)} 25% of 4.0 MB`,
      '\n',
    ])
    output.length = 0
    const silent = progressBar({ ...terminal, isTTY: false })
    silent.update({ status: 'progress', name: NAME, file: 'a', progress: 50, loaded: 1, total: 2 })
    silent.end()
    progressBar(terminal).end() // nothing was downloaded
    expect(output).toEqual([])
  })
})
