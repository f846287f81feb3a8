/** What this process runs on, in the words of npm's package.json. */
export interface Host {
  os: string
  cpu: string
  libc?: 'glibc' | 'musl'
  /** Of glibc, such as '2.36'. */
  libcVersion?: string
}

export function host(): Host {
  const here: Host = { os: process.platform, cpu: process.arch }
  if (here.os !== 'linux') return here
  const libcVersion = glibcVersion()
  return libcVersion === undefined ? { ...here, libc: 'musl' } : { ...here, libc: 'glibc', libcVersion }
}

/** As napi-rs names platforms, such as linux-x64-gnu; scripts/platforms.mjs has those there are packages for. */
export function platformName({ os, cpu, libc }: Host = host()): string {
  if (os === 'win32') return `${os}-${cpu}-msvc`
  if (os === 'linux') return `${os}-${cpu}-${libc === 'glibc' ? 'gnu' : 'musl'}`
  return `${os}-${cpu}`
}

/** The platform to read. */
export function describeHost({ os, cpu, libc, libcVersion }: Host = host()): string {
  const library = libc === undefined ? '' : `, ${[libc, libcVersion].filter(Boolean).join(' ')}`
  return `${os} ${cpu}${library}`
}

function glibcVersion(): string | undefined {
  const report = process.report as typeof process.report & { excludeNetwork?: boolean }
  // Otherwise the report resolves the names of all open sockets, which can take seconds.
  const before = report.excludeNetwork
  report.excludeNetwork = true
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  if (before === undefined) delete report.excludeNetwork
  else report.excludeNetwork = before
  return header.glibcVersionRuntime
}
