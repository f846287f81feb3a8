import { Problem } from './problem.ts'

/** The proxy for an address, as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say; names in small letters go before, as in curl. */
export function proxyFor(url: URL): string | undefined {
  const scheme = url.protocol.slice(0, -1)
  const proxy = variable(`${scheme}_proxy`) ?? variable('all_proxy')
  if (proxy === undefined || isExcepted(url)) return undefined
  const address = proxy.includes('://') ? proxy : `http://${proxy}`
  if (URL.canParse(address) && /^https?:$/.test(new URL(address).protocol)) return address
  // It may hold a password: not in the message.
  throw new Problem(
    'broken',
    `the proxy that ${scheme.toUpperCase()}_PROXY or ALL_PROXY names is no http or https address`,
  )
}

/** NO_PROXY: hosts with their subdomains, with or without a port; `*` for all. */
function isExcepted({ hostname, port, protocol }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  const actualPort = port || (protocol === 'https:' ? '443' : '80')
  return (variable('no_proxy') ?? '').split(/[,\s]+/).some(entry => {
    if (entry === '*') return true
    const [, name = '', wantedPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(entry.toLowerCase().replace(/^\*?\./, '')) ?? []
    if (name === '' || (wantedPort !== undefined && wantedPort !== actualPort)) return false
    return host === name || host.endsWith(`.${name}`)
  })
}

function variable(name: string): string | undefined {
  return process.env[name] || process.env[name.toUpperCase()] || undefined
}
