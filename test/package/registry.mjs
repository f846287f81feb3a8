/**
 * A registry of npm packages on this machine: what is not published yet is installed from it as it will be, platform by platform.
 * It serves the tarballs of a folder, under the scope of their names; for all else npm goes where it always goes.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

/** The content of `.npmrc` that sends a scope there. */
export const npmrc = (scope, url) => `${scope}:registry=${url}/\nnoproxy=127.0.0.1\n`

export async function startRegistry(folder) {
  const tarballs = readdirSync(folder).filter(name => name.endsWith('.tgz'))
  const packages = new Map()
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url).slice(1)
    const file = tarballs.find(name => `-/${name}` === path)
    if (file) return response.end(readFileSync(join(folder, file)))
    const found = packages.get(path)
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(found ?? { error: 'not found' }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`
  for (const name of tarballs) {
    const manifest = readManifest(folder, name)
    const integrity = `sha512-${createHash('sha512')
      .update(readFileSync(join(folder, name)))
      .digest('base64')}`
    const { version } = manifest
    const found = packages.get(manifest.name) ?? { name: manifest.name, 'dist-tags': {}, versions: {} }
    found['dist-tags'].latest = version
    found.versions[version] = { ...manifest, dist: { tarball: `${url}/-/${name}`, integrity } }
    packages.set(manifest.name, found)
  }
  return { url, close: () => server.close() }
}

function readManifest(folder, name) {
  const { status, stdout, stderr } = spawnSync('tar', ['-xOzf', name, 'package/package.json'], { cwd: folder })
  if (status !== 0) throw new Error(`${name}: ${stderr}`)
  return JSON.parse(stdout)
}
