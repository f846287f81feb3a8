import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { convert, Encoder, inspect } from 'bert-layers'
import { beforeAll, describe, expect, test } from 'vitest'
import { expectFailure } from './support/errors.ts'
import { goldenFolder, program, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'

const NAME = 'some-org/tiny'
const COMMITS = { main: 'a'.repeat(40), v2: 'b'.repeat(40) }

/** The fingerprint of each revision's model. */
let fingerprints: Record<keyof typeof COMMITS, string>

beforeAll(async () => {
  await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
  await using relu = await Encoder.fromPretrained(goldenFolder('bert-relu'))
  fingerprints = { main: bert.fingerprint, v2: relu.fingerprint }
})

/** As huggingface_hub writes it: snapshots of links into blobs, and a file a branch that names its commit. */
function writeCache(cache: string): string {
  const repository = join(cache, 'models--some-org--tiny')
  for (const folder of ['blobs', 'refs']) mkdirSync(join(repository, folder), { recursive: true })
  for (const [revision, golden] of [['main', 'bert'] as const, ['v2', 'bert-relu'] as const]) {
    const snapshot = join(repository, 'snapshots', COMMITS[revision])
    mkdirSync(snapshot, { recursive: true })
    writeFileSync(join(repository, 'refs', revision), COMMITS[revision])
    for (const file of ['config.json', 'model.safetensors']) {
      const blob = `${revision}-${file.length}`
      writeFileSync(join(repository, 'blobs', blob), readFileSync(join(goldenFolder(golden), file)))
      symlinkSync(join('../../blobs', blob), join(snapshot, file))
    }
  }
  return cache
}

describe('a name is found in the Hugging Face cache', () => {
  /** The fingerprint, or the error's code, in a process with these variables and no others that name a cache. */
  async function fingerprintWith(variables: NodeJS.ProcessEnv, revision = ''): Promise<string> {
    const none = {
      HF_HUB_CACHE: '',
      HUGGINGFACE_HUB_CACHE: '',
      HF_HOME: '',
      XDG_CACHE_HOME: '',
      HOME: temporaryFolder(),
    }
    const env = { ...none, ...variables }
    const { stdout, stderr } = await runNode([program('fingerprint.mjs'), NAME, revision], { env })
    expect(stderr).toBe('')
    return stdout.trim()
  }

  test('that HF_HUB_CACHE names', async () => {
    const cache = writeCache(join(temporaryFolder(), 'any name'))
    expect(await fingerprintWith({ HF_HUB_CACHE: cache })).toBe(fingerprints.main)
    expect(await fingerprintWith({ HF_HUB_CACHE: cache, HF_HOME: '/no/such/folder' })).toBe(fingerprints.main)
    expect(await fingerprintWith({ HF_HUB_CACHE: cache }, 'v2')).toBe(fingerprints.v2)
  })

  test('in HF_HOME', async () => {
    const home = temporaryFolder()
    writeCache(join(home, 'hub'))
    expect(await fingerprintWith({ HF_HOME: home })).toBe(fingerprints.main)
    expect(await fingerprintWith({ HF_HOME: temporaryFolder() })).toBe('ERR_MODEL_NOT_FOUND')
  })

  test('by branch and by commit', async () => {
    const cacheDir = writeCache(temporaryFolder())
    for (const [branch, commit] of Object.entries(COMMITS)) {
      for (const revision of [branch, commit]) {
        await using found = await Encoder.fromPretrained(NAME, { cacheDir, revision })
        expect(found.fingerprint).toBe(fingerprints[branch as keyof typeof COMMITS])
      }
    }
    await using byDefault = await Encoder.fromPretrained(NAME, { cacheDir })
    expect(byDefault.fingerprint).toBe(fingerprints.main)
    await expectFailure(
      () => Encoder.fromPretrained(NAME, { cacheDir, revision: 'v3' }),
      'ERR_MODEL_NOT_FOUND',
      /v3/,
      cacheDir,
    )
  })
})

test('a folder and a package have no revisions, and no shell expands ~', async () => {
  const load =
    (model: string, options = {}) =>
    () =>
      Encoder.fromPretrained(model, options)
  await expectFailure(load(goldenFolder('bert'), { revision: 'main' }), 'ERR_INVALID_INPUT', /revision.*is a folder/)
  const revision = 'main'
  await expectFailure(load('all-minilm-l6-v2', { revision }), 'ERR_INVALID_INPUT', /revision.*is an installed package/)
  await expectFailure(load('~/no-such-model'), 'ERR_MODEL_NOT_FOUND', /No shell expands ~/)
  await expectFailure(load('file:///tmp/no-such-model'), 'ERR_MODEL_NOT_FOUND', /fileURLToPath/)
  await expectFailure(() => convert(goldenFolder('bert'), '~/converted'), 'ERR_INVALID_INPUT', /no shell expands ~/)
})

test('what would be without effect, or of nobody, is refused', async () => {
  for (const call of [(options: object) => Encoder.fromPretrained(undefined, options), inspectDefault]) {
    await expectFailure(() => call({ revision: 'v2' }), 'ERR_INVALID_INPUT', /revision.*name one, or leave it out/)
  }
  const target = join(temporaryFolder(), 'model')
  for (const call of [Encoder.fromPretrained, inspect, (name: string, o: object) => convert(name, target, o)]) {
    await expectFailure(
      () => call(NAME, { cacheDir: '~/models' }),
      'ERR_INVALID_INPUT',
      /cacheDir is ~\/models.*whole path/,
    )
  }
})

function inspectDefault(options: object) {
  return inspect(undefined, options)
}
