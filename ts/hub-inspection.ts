import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type * as api from '../index.d.ts'
import { settle } from './errors.ts'
import { hubPlan, type Plan, type Preview } from './hub/plan.ts'
import { inspection, withNotice } from './inspection.ts'
import type { LocateOptions } from './locate.ts'
import { native } from './native.ts'

/** Looks at a model of the hub: as the cache has it or, where that lacks something, from what can be seen without downloading it. */
export async function inspectOnHub(model: string, options: LocateOptions): Promise<api.Inspection> {
  const { revision, cacheDir, signal } = options
  const plan = await hubPlan({ model, revision, cacheDir, signal })
  const { inspectModel } = native()
  const seen =
    plan.preview === undefined
      ? inspection(await settle(() => inspectModel({ model: plan.folder, packageFolders: [] })))
      : await fromPreview(plan.preview, plan.folder)
  signal?.throwIfAborted()
  const found = { ...seen, download: downloadOf(plan) }
  return plan.unasked === undefined
    ? found
    : withNotice(found, `this is what the cache has, which may not be the newest: ${plan.unasked}`)
}

function downloadOf({ commit, files }: Plan): api.Download {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  return {
    commit,
    files: files.map(({ path, size, cached }) => ({ file: path, bytes: size, cachedBytes: cached })),
    bytes,
    missingBytes: files.reduce((rest, { size, cached }) => rest + size - cached, 0),
  }
}

/** `folder`: where the files would be. */
async function fromPreview(preview: Preview, folder: string): Promise<api.Inspection> {
  const { descriptions, headers, weights, vocabulary } = preview
  const temporary = await mkdtemp(join(tmpdir(), 'bert-layers-'))
  try {
    for (const [path, bytes] of Object.entries(descriptions)) {
      await mkdir(dirname(join(temporary, path)), { recursive: true })
      await writeFile(join(temporary, path), bytes)
    }
    const { inspectRemoteModel } = native()
    const seen = inspection(await settle(() => inspectRemoteModel(temporary, headers)))
    const { notices, weights: read } = seen
    const [first, ...others] = weights.map(found => ({ ...found, dtypes: {} }))
    for (const { file } of others) {
      notices.push(`${first!.file} would be downloaded; ${file} is there too and is left aside`)
    }
    if (headers.length === 0) {
      notices.push(`the number of its parameters, and their memory, are known once ${first!.file} is downloaded`)
    }
    if (vocabulary === undefined) {
      notices.push(
        'it has no tokenizer that is read (tokenizer.json, vocab.txt, vocab.json with merges.txt): it would take ids only',
      )
    }
    return {
      ...seen,
      folder,
      ...(vocabulary !== undefined && { tokenizer: { file: vocabulary } }),
      // What Rust saw of the first, under the name that stands for all of its files.
      weights: [{ ...first!, ...(read[0] && { tensors: read[0].tensors!, dtypes: read[0].dtypes }) }, ...others],
      notices: notices.map(notice => notice.replaceAll(temporary, folder)),
    }
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}
