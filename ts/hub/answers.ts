import type { Dispatcher } from 'undici'
import { Problem } from './problem.ts'
import type { HubSettings } from './settings.ts'

type Headers = Dispatcher.ResponseData['headers']

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}

export function isHtml(headers: Headers): boolean {
  return /\bhtml\b/.test(String(headers['content-type']))
}

/** What a status that is no success means; the answer's body is read away. */
export async function statusProblem(
  { statusCode: status, headers, body }: Dispatcher.ResponseData,
  what: string,
  url: URL,
  { token, endpoint }: HubSettings,
): Promise<Problem> {
  await body.dump().catch(() => {})
  const says = hubMessage(headers)
  const code = headers['x-error-code']
  const from = `${what}: ${url.host} answered ${status}${says}`
  if (url.origin !== new URL(endpoint).origin && status < 500 && status !== 429) {
    // A signed address of the storage behind the hub that ran out: a new try gets a new one.
    return new Problem(
      status === 403 || status === 410 ? 'busy' : 'broken',
      `${from}: the storage behind the hub refuses`,
    )
  }
  if (status === 401) {
    const unknown = code === 'RepoNotFound' && token === undefined
    const advice =
      token === undefined
        ? 'there is no such model, or it is private or gated: check the name, or set HF_TOKEN to a token that may read it'
        : 'the token in use (HF_TOKEN, or that of `hf auth login`) is not valid or may not read it: set HF_TOKEN to one that may'
    return new Problem(unknown ? 'missing' : 'denied', `${from}: ${advice}`)
  }
  if (status === 403) {
    const advice =
      token === undefined
        ? 'set HF_TOKEN, and accept the licence on the page of the model if it is gated'
        : 'accept the licence on the page of the model with the account of the token in use (HF_TOKEN), or use one that may read it'
    return new Problem('denied', `${from}: ${advice}`)
  }
  if (status === 404) {
    if (code === 'RevisionNotFound')
      return new Problem('revision', `${from}: the model is there, but not this revision`)
    if (code === 'EntryNotFound') return new Problem('missing', `${from}: the model has no such file`)
    return new Problem('missing', `${from}: there is no such model; check the name`)
  }
  if (status === 429) {
    const advice = token === undefined ? ', or set HF_TOKEN, which raises the limit' : ''
    return new Problem('busy', `${from}: too many requests; try again later${advice}`, { wait: askedWait(headers) })
  }
  if (status === 408 || status >= 500) {
    return new Problem('busy', `${from}: trouble on its side; try again later`, { wait: askedWait(headers) })
  }
  return new Problem('broken', `${from}: not what a hub says; is HF_ENDPOINT right?`)
}

/** What undici and the system call a failed request, in words. The signal's own reason stays what it is. */
export function networkProblem(error: unknown, what: string, url: URL, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof Problem) return error
  const { code = '', message } = rootOf(error)
  const problem = (why: string) => new Problem('network', `${what}: ${why}`, { cause: error })
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return problem(`the name ${url.hostname} is not known here; is there a network? (HTTPS_PROXY may name a proxy)`)
  }
  if (code === 'UND_ERR_CONNECT_TIMEOUT')
    return problem('no connection in time; is there a network, or a proxy to set?')
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return problem('no answer in time')
  if (code === 'UND_ERR_BODY_TIMEOUT') return problem('nothing came any more')
  if (/^(CERT_|ERR_TLS_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
    return new Problem(
      'broken',
      `${what}: its certificate is not trusted (${code}); where a proxy of your own stands in between, NODE_EXTRA_CA_CERTS ` +
        'names its certificate',
      { cause: error },
    )
  }
  return problem(message || code || String(error))
}

/** The address of one of several tries, where all failed. */
function rootOf(error: unknown): { code?: string; message?: string } {
  const { errors } = error as { errors?: unknown[] }
  return (errors?.[0] ?? error) as { code?: string; message?: string }
}

/** Retry-After in seconds or as a date, or the end of the hub's own window (`RateLimit: "api";r=0;t=55`). */
function askedWait(headers: Headers): number | undefined {
  const after = headers['retry-after']
  if (typeof after === 'string') {
    const wait = /^\d+$/.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()
    if (!Number.isNaN(wait)) return Math.max(0, wait)
  }
  const window = /;\s*r=0\s*;\s*t=(\d+)/.exec(String(headers.ratelimit ?? ''))
  return window === null ? undefined : Number(window[1]) * 1000
}

/** What the hub itself says, cut short and without anything that a terminal would obey. */
function hubMessage(headers: Headers): string {
  const message = headers['x-error-message']
  if (typeof message !== 'string') return ''
  return ` (${message.slice(0, 200).replace(/[^\x20-\x7e]/g, '?')})`
}
