/**
 * The prebuilt packages: one a platform, named as napi-rs names platforms. This table is the one source: the loader's advice, the packing,
 * the workflow and README's table are compared with it by tests.
 *
 * `os`, `cpu` and `libc` are npm's fields, by which npm installs the one that fits. Packages with `optIn` are no optional dependencies of
 * the main package: a binary with CUDA needs CUDA's libraries where it is loaded.
 */
export const PLATFORMS = [
  { name: 'linux-x64-gnu', target: 'x86_64-unknown-linux-gnu', os: 'linux', cpu: 'x64', libc: 'glibc' },
  { name: 'linux-arm64-gnu', target: 'aarch64-unknown-linux-gnu', os: 'linux', cpu: 'arm64', libc: 'glibc' },
  { name: 'linux-x64-musl', target: 'x86_64-unknown-linux-musl', os: 'linux', cpu: 'x64', libc: 'musl' },
  { name: 'linux-arm64-musl', target: 'aarch64-unknown-linux-musl', os: 'linux', cpu: 'arm64', libc: 'musl' },
  {
    name: 'darwin-arm64',
    target: 'aarch64-apple-darwin',
    os: 'darwin',
    cpu: 'arm64',
    features: ['metal', 'accelerate'],
  },
  { name: 'darwin-x64', target: 'x86_64-apple-darwin', os: 'darwin', cpu: 'x64', features: ['metal', 'accelerate'] },
  { name: 'win32-x64-msvc', target: 'x86_64-pc-windows-msvc', os: 'win32', cpu: 'x64' },
  { name: 'win32-arm64-msvc', target: 'aarch64-pc-windows-msvc', os: 'win32', cpu: 'arm64' },
  {
    name: 'linux-x64-gnu-cuda',
    target: 'x86_64-unknown-linux-gnu',
    os: 'linux',
    cpu: 'x64',
    libc: 'glibc',
    features: ['cuda'],
    optIn: true,
  },
  {
    name: 'win32-x64-msvc-cuda',
    target: 'x86_64-pc-windows-msvc',
    os: 'win32',
    cpu: 'x64',
    features: ['cuda'],
    optIn: true,
  },
]

/** What npm calls the package of a platform. */
export const packageName = platform => `@bert-layers/${platform.name}`

/** What the binary in it is called. */
export const binaryName = platform => `bert-layers.${platform.name}.node`
