import { Agent, type Dispatcher, ProxyAgent, request } from 'undici'
import { isHtml, isSuccess, networkProblem, statusProblem } from './answers.ts'
import { Problem } from './problem.ts'
import { proxyFor } from './proxy.ts'
import type { HubSettings } from './settings.ts'

const MAX_REDIRECTS = 10
/** A listing of thousands of files is well below it. */
const MAX_JSON_BYTES = 64 << 20

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Dispatcher.ResponseData['body']
  /** The headers of the hub itself, where it sent us on to another host. */
  hubHeaders: Record<string, string | string[] | undefined>
}

/** Connections to one hub, for one load. It follows redirects itself: the token never leaves the hub's own origin. */
export class Connection {
  readonly settings: HubSettings
  readonly signal: AbortSignal
  readonly #origin: string
  /** One a proxy; '' is none. */
  readonly #dispatchers = new Map<string, Dispatcher>()

  constructor(settings: HubSettings, signal: AbortSignal) {
    this.settings = settings
    this.signal = signal
    this.#origin = new URL(settings.endpoint).origin
  }

  /** One try at a GET. What is no success is a Problem; 416 is given, for who asked for a range. */
  async get(address: string, what: string, headers: Record<string, string>, timeout: number): Promise<Answer> {
    let url = new URL(address)
    let hubHeaders: Answer['headers'] | undefined
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const answer = await this.#send(url, headers, timeout)
      if (url.origin === this.#origin || hubHeaders === undefined) hubHeaders = answer.headers
      const { statusCode: status, headers: answered, body } = answer
      if (isSuccess(status) || status === 416) return { status, headers: answered, body, hubHeaders }
      const { location } = answered
      if (status < 300 || status >= 400 || typeof location !== 'string') {
        throw await statusProblem(answer, what, url, this.settings)
      }
      await body.dump().catch(() => {})
      url = redirected(url, location, what)
    }
    throw new Problem(
      'broken',
      `${what}: ${new URL(address).host} redirects in a circle (more than ${MAX_REDIRECTS} times)`,
    )
  }

  /** One try at a GET of JSON. */
  async json(address: string, what: string): Promise<{ value: unknown; headers: Answer['headers'] }> {
    const timeout = this.settings.metadataTimeout
    const { body, headers } = await this.get(address, what, { accept: 'application/json' }, timeout)
    const chunks: Buffer[] = []
    let length = 0
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        length += chunk.length
        if (length > MAX_JSON_BYTES) throw new Problem('broken', `${what}: the answer is larger than any listing`)
        chunks.push(chunk)
      }
    } catch (error) {
      throw networkProblem(error, what, new URL(address), this.signal)
    }
    const text = Buffer.concat(chunks).toString('utf8')
    try {
      return { value: JSON.parse(text), headers }
    } catch (cause) {
      const found = isHtml(headers) || /^\s*<(!doctype|html)/i.test(text) ? 'a web page (HTML)' : 'something else'
      throw new Problem(
        'broken',
        `${what}: ${new URL(address).host} answered with ${found} instead of JSON: a proxy or a login page may be in between, ` +
          'or HF_ENDPOINT is not a hub',
        { cause },
      )
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#dispatchers.values()].map(dispatcher => dispatcher.destroy()))
  }

  async #send(url: URL, headers: Record<string, string>, timeout: number): Promise<Dispatcher.ResponseData> {
    const sent: Record<string, string> = {
      'user-agent': `bert-layers; node/${process.versions.node}`,
      // Sizes and ranges are of the file as it is.
      'accept-encoding': 'identity',
      ...headers,
    }
    const { token } = this.settings
    if (token !== undefined && url.origin === this.#origin) sent.authorization = `Bearer ${token}`
    try {
      const dispatcher = this.#dispatcher(url)
      const options = { dispatcher, signal: this.signal, headers: sent, headersTimeout: timeout, bodyTimeout: timeout }
      const answer = await request(url, options)
      // Who reads the body learns of an error there; one that comes when nobody reads any more must not end the process.
      answer.body.on('error', () => {})
      return answer
    } catch (error) {
      throw networkProblem(error, `${url.host} could not be reached`, url, this.signal)
    }
  }

  #dispatcher(url: URL): Dispatcher {
    const uri = proxyFor(url) ?? ''
    const connect = { timeout: this.settings.metadataTimeout }
    const known = this.#dispatchers.get(uri)
    const dispatcher =
      known ?? (uri === '' ? new Agent({ connect }) : new ProxyAgent({ uri, connect, requestTls: connect }))
    this.#dispatchers.set(uri, dispatcher)
    return dispatcher
  }
}

function redirected(from: URL, location: string, what: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  if (to === undefined || !/^https?:$/.test(to.protocol)) {
    throw new Problem(
      'broken',
      `${what}: ${from.host} redirects to '${location.slice(0, 200)}', which is no web address`,
    )
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new Problem('broken', `${what}: ${from.host} redirects to ${to.host} without encryption (http): refused`)
  }
  return to
}
