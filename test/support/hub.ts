import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished, vi } from 'vitest'
import { describeFile, type Files, gitHash, isLarge, sha256 } from './hub-files.ts'
import { temporaryFolder } from './paths.ts'

/** What goes wrong with one answer. */
export interface Fault {
  /** An answer of this status instead. */
  status?: number
  headers?: Record<string, string>
  /** This body instead, with status 200 unless another is given. */
  body?: string | Uint8Array
  /** The connection is cut after so many bytes of the body. */
  cutAfter?: number
  /** The answer ends properly after so many bytes, and says that they are all. */
  shortenTo?: number
  /** The byte at this place of the body is another. */
  damageAt?: number
  /** Nothing comes any more after so many bytes; `onHang` is told. */
  hangAfter?: number
  onHang?: () => void
  /** Milliseconds before the answer begins. */
  delay?: number
  /** The answer begins after this. */
  after?: Promise<unknown>
  /** The range that was asked for is not looked at. */
  ignoreRange?: boolean
}

export interface Request {
  /** The hub itself, or the storage that it sends people to for large files. */
  host: 'hub' | 'storage'
  method: string
  /** Path and query. */
  path: string
  headers: IncomingMessage['headers']
  /** Bytes of the body that were sent. */
  sent: number
}

type Exchange = [request: Request, response: ServerResponse, body: Buffer]

interface Repository {
  /** Branches and tags to commits. */
  refs: Record<string, string>
  commits: Record<string, Map<string, Buffer>>
}

const PAGE = 4
const PIECE = 16_384

/** What the environment of whoever runs the tests could say about the hub. */
const INHERITED = [
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_TOKEN',
  'HUGGING_FACE_HUB_TOKEN',
  'HF_TOKEN_PATH',
  'TRANSFORMERS_OFFLINE',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'http_proxy',
  'https_proxy',
  'all_proxy',
  'no_proxy',
]

/**
 * A hub on this machine that answers as the real one does: the API and small files from one origin, large files (LFS) by a
 * redirect to another. Faults are put in by `onRequest`.
 */
export class LoopbackHub {
  readonly requests: Request[] = []
  /** Decides what goes wrong with a request. */
  onRequest: (request: Request) => Fault | undefined = () => undefined
  /** Who may read: everybody without it. */
  token: string | undefined
  endpoint = ''
  storage = ''
  readonly #repositories = new Map<string, Repository>()
  readonly #moved = new Map<string, string>()
  readonly #servers: Server[] = []

  static async start(): Promise<LoopbackHub> {
    const hub = new LoopbackHub()
    hub.endpoint = await hub.#listen('hub', (...exchange) => hub.#answer(...exchange))
    hub.storage = await hub.#listen('storage', (...exchange) => hub.#answerStorage(...exchange))
    onTestFinished(() => hub.stop())
    return hub
  }

  /** Starts one and lets this process, and those it starts, take it for the hub; with a home of their own and much patience. */
  static async use(): Promise<LoopbackHub> {
    const hub = await LoopbackHub.start()
    const environment = {
      HF_ENDPOINT: hub.endpoint,
      HF_HOME: temporaryFolder(),
      HF_HUB_OFFLINE: '',
      HF_HUB_DOWNLOAD_TIMEOUT: '600',
      HF_HUB_ETAG_TIMEOUT: '600',
      ...Object.fromEntries(INHERITED.map(name => [name, undefined])),
      NO_PROXY: '127.0.0.1',
    }
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
    onTestFinished(() => void vi.unstubAllEnvs())
    return hub
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  }

  /** Puts a commit into a repository and lets a branch stand for it. Gives the commit. */
  commit(name: string, files: Files, branch = 'main'): string {
    const repository = this.#repositories.get(name) ?? { refs: {}, commits: {} }
    const contents = new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]))
    const hash = createHash('sha1').update(JSON.stringify([name, branch]))
    for (const [path, bytes] of contents) hash.update(path).update(bytes)
    const commit = hash.digest('hex')
    repository.commits[commit] = contents
    repository.refs[branch] = commit
    this.#repositories.set(name, repository)
    return commit
  }

  /** The old name of a repository sends on to the new one. */
  move(from: string, to: string): void {
    this.#moved.set(from, to)
  }

  /** Requests for the contents of files, without the redirects to them. */
  get downloads(): Request[] {
    return this.requests.filter(
      ({ method, path }) => method === 'GET' && /^\/(storage|api\/resolve-cache)\//.test(path),
    )
  }

  /** Bytes of files that were sent. */
  get bytes(): number {
    return this.downloads.reduce((sum, { sent }) => sum + sent, 0)
  }

  async #listen(host: Request['host'], answer: (...args: Exchange) => void | Promise<void>): Promise<string> {
    const server = createServer(async (message, response) => {
      const { method = '', url: path = '', headers } = message
      const request: Request = { host, method, path, headers, sent: 0 }
      this.requests.push(request)
      response.on('error', () => {})
      try {
        await answer(request, response, await buffer(message))
      } catch (error) {
        response.destroy(error as Error)
      }
    })
    server.keepAliveTimeout = 60_000
    this.#servers.push(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async #answer(...[request, response, message]: Exchange): Promise<void> {
    const fault = this.onRequest(request)
    if (await this.#answerFault(request, response, fault)) return
    const url = new URL(request.path, `http://${request.headers.host}`)
    const path = decodeURIComponent(url.pathname)
    const api = /^\/api\/models\/([\w.-]+(?:\/[\w.-]+)??)(?:\/(revision|tree|paths-info)\/(.+))?$/.exec(path)
    const resolve = /^\/([\w.-]+(?:\/[\w.-]+)?)\/resolve\/([^/]+|refs\/pr\/\d+)\/(.+)$/.exec(path)
    const cached = /^\/api\/resolve-cache\/models\/([\w.-]+(?:\/[\w.-]+)?)\/([0-9a-f]{40})\/(.+)$/.exec(path)
    const name = (api ?? resolve ?? cached)?.[1]
    if (name === undefined)
      return refuse(response, 404, undefined, "Sorry, we can't find the page you are looking for.")
    const moved = this.#moved.get(name)
    if (moved !== undefined) {
      response.writeHead(307, { location: request.path.replace(name, moved) }).end()
      return
    }
    const authorized = this.token === undefined || request.headers.authorization === `Bearer ${this.token}`
    const repository = this.#repositories.get(name)
    if (repository === undefined || !authorized) {
      // The hub does not tell strangers which private models there are.
      return request.headers.authorization === undefined
        ? refuse(response, 401, 'RepoNotFound', 'Invalid username or password.')
        : refuse(response, 404, 'RepoNotFound', 'Repository not found')
    }
    const revision = (api ? api[3] : (resolve ?? cached)?.[2]) ?? 'main'
    const commit = repository.refs[revision === 'HEAD' ? 'main' : revision] ?? revision
    const files = repository.commits[commit]
    if (files === undefined) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`)
    const send = (value: unknown) => this.#sendJson(request, response, value, fault)
    if (api?.[2] === 'tree') return send(treePage(response, url, files))
    if (api?.[2] === 'paths-info') {
      const { paths } = JSON.parse(message.toString()) as { paths: string[] }
      const lastCommit = { id: commit, title: '', date: '2024-01-01T00:00:00.000Z' }
      return send(paths.map(path => ({ ...describeFile(path, files.get(path)!), lastCommit })))
    }
    if (api) {
      const siblings = [...files.keys()].map(rfilename => ({ rfilename }))
      return send({ id: name, modelId: name, sha: commit, private: false, gated: false, tags: [], siblings })
    }
    const file = (resolve ?? cached)![3]!
    const contents = files.get(file)
    response.setHeader('x-repo-commit', commit)
    if (contents === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found')
    if (cached) return this.#sendFile(request, response, contents, fault, { etag: `"${gitHash(contents)}"` })
    const large = isLarge(file)
    const etag = `"${large ? sha256(contents) : gitHash(contents)}"`
    response.setHeader('x-linked-etag', etag).setHeader('x-linked-size', contents.length).setHeader('etag', etag)
    response.setHeader('accept-ranges', 'bytes')
    if (large) {
      response.writeHead(302, { location: `${this.storage}/storage/${sha256(contents)}?signature=x` }).end()
    } else {
      response.writeHead(307, { location: `/api/resolve-cache/models/${name}/${commit}/${encodeURI(file)}` }).end()
    }
  }

  async #answerStorage(...[request, response]: Exchange): Promise<void> {
    const fault = this.onRequest(request)
    if (await this.#answerFault(request, response, fault)) return
    const hash = /^\/storage\/([0-9a-f]{64})/.exec(request.path)?.[1]
    const all = [...this.#repositories.values()].flatMap(({ commits }) => Object.values(commits))
    const contents = all.flatMap(files => [...files.values()]).find(bytes => sha256(bytes) === hash)
    if (contents === undefined) return void response.writeHead(404).end()
    return this.#sendFile(request, response, contents, fault, { etag: `"${hash}"` })
  }

  /** Answers that are not what was asked for at all; whether it was one. */
  async #answerFault(request: Request, response: ServerResponse, fault: Fault | undefined): Promise<boolean> {
    if (fault?.delay !== undefined) await sleep(fault.delay)
    await fault?.after
    if (fault?.status === undefined && fault?.body === undefined) return false
    const body = Buffer.from(fault.body ?? '')
    response.writeHead(fault.status ?? 200, { 'content-length': body.length, ...fault.headers })
    response.end(request.method === 'HEAD' ? undefined : body)
    return true
  }

  async #sendFile(
    request: Request,
    response: ServerResponse,
    contents: Buffer,
    fault: Fault | undefined,
    headers: Record<string, string>,
  ): Promise<void> {
    const range = fault?.ignoreRange ? undefined : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
    const from = Number(range?.[1] ?? 0)
    if (range && from >= contents.length) {
      return void response.writeHead(416, { 'content-range': `bytes */${contents.length}` }).end()
    }
    const to = range?.[2] ? Math.min(Number(range[2]) + 1, contents.length) : contents.length
    const body = Buffer.from(contents.subarray(from, to))
    if (fault?.damageAt !== undefined && body.length > 0) body[fault.damageAt % body.length]! ^= 0xff
    if (range) response.setHeader('content-range', `bytes ${from}-${to - 1}/${contents.length}`)
    response.statusCode = range ? 206 : 200
    response.setHeader('accept-ranges', 'bytes').setHeader('content-type', 'application/octet-stream')
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    return this.#send(request, response, body, fault)
  }

  #sendJson(request: Request, response: ServerResponse, value: unknown, fault: Fault | undefined): Promise<void> {
    response.setHeader('content-type', 'application/json; charset=utf-8')
    return this.#send(request, response, Buffer.from(JSON.stringify(value)), fault)
  }

  /** Sends a body, as far as the fault lets it. */
  async #send(request: Request, response: ServerResponse, whole: Buffer, fault: Fault | undefined): Promise<void> {
    const body = fault?.shortenTo === undefined ? whole : whole.subarray(0, fault.shortenTo)
    response.setHeader('content-length', body.length)
    response.flushHeaders()
    if (request.method === 'HEAD') return void response.end()
    const end = Math.min(fault?.cutAfter ?? body.length, fault?.hangAfter ?? body.length, body.length)
    // In pieces, so that a break finds some of it on its way.
    for (let at = 0; at < end; at += PIECE) {
      const piece = body.subarray(at, Math.min(at + PIECE, end))
      if (response.destroyed) return
      await new Promise<void>(resolve => response.write(piece, () => resolve()))
      request.sent += piece.length
    }
    if (fault?.hangAfter !== undefined) return fault.onHang?.()
    if (fault?.cutAfter !== undefined) return void response.destroy()
    response.end()
  }
}

/** A page of the list of files; the header says where the next one is. */
function treePage(response: ServerResponse, url: URL, files: Map<string, Buffer>): unknown[] {
  const parents = [...files.keys()].filter(path => path.includes('/')).map(path => path.slice(0, path.lastIndexOf('/')))
  const entries = [
    ...[...new Set(parents)].map(path => ({ type: 'directory', oid: '0'.repeat(40), size: 0, path })),
    ...[...files].map(([path, bytes]) => describeFile(path, bytes)),
  ]
  const start = Number(url.searchParams.get('cursor') ?? 0)
  const next = start + PAGE
  if (next < entries.length) {
    url.searchParams.set('cursor', String(next))
    response.setHeader('link', `<${url.href}>; rel="next"`)
  }
  return entries.slice(start, next)
}

function refuse(response: ServerResponse, status: number, code: string | undefined, message: string): void {
  if (code !== undefined) response.setHeader('x-error-code', code)
  response.setHeader('x-error-message', message).setHeader('content-type', 'application/json; charset=utf-8')
  response.statusCode = status
  response.end(JSON.stringify({ error: message }))
}
