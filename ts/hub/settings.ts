import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Problem } from './problem.ts'

/** The hub, unless HF_ENDPOINT names another. */
const DEFAULT_ENDPOINT = 'https://huggingface.co'
/** How long a connection may be silent, as huggingface_hub has it. */
const DEFAULT_SECONDS = 10

/** What the environment says about the hub; the variables are huggingface_hub's. */
export interface HubSettings {
  /** Without a slash at its end. */
  endpoint: string
  token: string | undefined
  /** Milliseconds of silence before a request for metadata is given up. */
  metadataTimeout: number
  /** Milliseconds of silence before a download is given up. */
  downloadTimeout: number
  /** Whether the cache may have links. */
  links: boolean
}

export function hubSettings(): HubSettings {
  return {
    endpoint: readEndpoint(),
    token: readToken(),
    metadataTimeout: readSeconds('HF_HUB_ETAG_TIMEOUT') * 1000,
    downloadTimeout: readSeconds('HF_HUB_DOWNLOAD_TIMEOUT') * 1000,
    links: !isTrue('HF_HUB_DISABLE_SYMLINKS'),
  }
}

/** What forbids the network, if a variable does. */
export function offlineVariable(): string | undefined {
  const name = ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].find(isTrue)
  return name === undefined ? undefined : `${name} is set`
}

export function isTrue(name: string): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(variable(name)?.toUpperCase() ?? '')
}

/** The cache of huggingface_hub; crates/bert-layers/src/locate.rs has the same rules. */
export function hubCache(): string {
  const named = folder('HF_HUB_CACHE') ?? folder('HUGGINGFACE_HUB_CACHE')
  return named ?? join(hubHome(), 'hub')
}

function hubHome(): string {
  const home = folder('HF_HOME')
  if (home !== undefined) return home
  return join(folder('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface')
}

function variable(name: string): string | undefined {
  return process.env[name] || undefined
}

/** `~/x` as huggingface_hub understands it: no shell expands a variable that was set in quotes. */
function folder(name: string): string | undefined {
  return variable(name)?.replace(/^~(?=$|[/\\])/, homedir())
}

function readEndpoint(): string {
  const given = variable('HF_ENDPOINT') ?? DEFAULT_ENDPOINT
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new Problem('broken', `HF_ENDPOINT is '${given}': it must be an address such as ${DEFAULT_ENDPOINT}`)
  }
  return url.href.replace(/\/+$/, '')
}

/** The token of `hf auth login`, or of the environment, which goes before. */
function readToken(): string | undefined {
  if (isTrue('HF_HUB_DISABLE_IMPLICIT_TOKEN')) return undefined
  const path = folder('HF_TOKEN_PATH') ?? join(hubHome(), 'token')
  const [source, token] =
    (['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'] as const)
      .map(name => [name as string, variable(name)?.trim()] as const)
      .find(([, value]) => value) ?? ([path, readIfThere(path)?.trim()] as const)
  if (!token) return undefined
  // A header could carry no other; the message must not show it.
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw new Problem('denied', `the token in ${source} has characters that no token has: set HF_TOKEN, or log in again`)
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // as with huggingface_hub: who is not logged in has no token
  }
}

function readSeconds(name: string): number {
  const seconds = Number(variable(name) ?? DEFAULT_SECONDS)
  return seconds > 0 && seconds < 1e6 ? seconds : DEFAULT_SECONDS
}
