import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect } from 'vitest'
import { type Files, filesOf, gitHash, sha256 } from './hub-files.ts'
import { goldenFolder, ROOT, temporaryFolder } from './paths.ts'
import { writeTokenizer } from './tiny-model.ts'

/** The files that are needed of {@link tinyRepository}. */
export const NEEDED = [
  '1_Pooling/config.json',
  'config.json',
  'config_sentence_transformers.json',
  'model.safetensors',
  'modules.json',
  'sentence_bert_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
]

/** The tiny golden model as a repository of the hub has it: everything that a model may come with. */
export function tinyRepository(golden = 'bert'): Files {
  const folder = temporaryFolder()
  writeTokenizer(folder)
  const files = filesOf(goldenFolder(golden))
  const { 'config.json': config, 'model.safetensors': weights } = files as Record<string, Uint8Array>
  return {
    ...filesOf(folder),
    'config.json': config!,
    'model.safetensors': weights!,
    'tokenizer_config.json': '{"do_lower_case": true}',
    'modules.json': JSON.stringify([
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
      { idx: 2, name: '2', path: '2_Normalize', type: 'sentence_transformers.models.Normalize' },
    ]),
    '1_Pooling/config.json': '{"word_embedding_dimension": 48, "pooling_mode_mean_tokens": true}',
    'config_sentence_transformers.json': '{}',
    'sentence_bert_config.json': '{"max_seq_length": 64, "do_lower_case": false}',
    // None of these is needed.
    '.gitattributes': '*.safetensors filter=lfs\n',
    'README.md': '# tiny\n',
    'vocab.txt': '[PAD]\n',
    'pytorch_model.bin': 'not needed',
    'tf_model.h5': 'not needed',
    'flax_model.msgpack': 'not needed',
    'onnx/model.onnx': 'not needed',
    'onnx/config.json': 'not needed',
    'openvino/openvino_model.bin': 'not needed',
  }
}

export function shardedRepository(): Files {
  const {
    'goldens.json': _,
    'goldens.safetensors': __,
    ...files
  } = filesOf(join(ROOT, 'test/fixtures/goldens-extra/weights-sharded'))
  return { ...files, 'README.md': '# sharded\n' }
}

/** The files of a snapshot, sorted. */
export function snapshotFiles(cache: string, name: string, commit: string): string[] {
  const folder = join(cache, `models--${name.replace('/', '--')}`, 'snapshots', commit)
  return existsSync(folder) ? Object.keys(filesOf(folder, true)).sort() : []
}

/**
 * What must hold of a cache at any time, whatever has happened: all that has a final name is right and whole, and a snapshot
 * that has its configuration has everything.
 */
export function expectSoundCache(
  cache: string,
  name: string,
  commit: string,
  files: Files,
  needed: readonly string[],
): void {
  const folder = join(cache, `models--${name.replace('/', '--')}`)
  const blobs = join(folder, 'blobs')
  for (const blob of existsSync(blobs) ? readdirSync(blobs) : []) {
    if (blob.endsWith('.incomplete')) continue
    const bytes = readFileSync(join(blobs, blob))
    expect([sha256(bytes), gitHash(bytes)], `blob ${blob}`).toContain(blob)
  }
  const snapshots = join(folder, 'snapshots')
  for (const snapshot of existsSync(snapshots) ? readdirSync(snapshots) : []) {
    expect(snapshot).toBe(commit)
    const found = filesOf(join(snapshots, snapshot), true)
    for (const [path, bytes] of Object.entries(found)) {
      expect(Buffer.from(files[path] ?? '').equals(bytes as Uint8Array), `${path} of the snapshot`).toBe(true)
    }
    if ('config.json' in found) expect(Object.keys(found).sort()).toEqual([...needed].sort())
  }
  const refs = join(folder, 'refs')
  for (const ref of existsSync(refs) ? readdirSync(refs) : []) {
    expect(basename(ref)).toBe('main')
    expect(readFileSync(join(refs, ref), 'utf8')).toBe(commit)
    expect(snapshotFiles(cache, name, commit)).toEqual([...needed].sort())
  }
}

/** Bytes that a cache has of a model's files, whole or in part. */
export function bytesInCache(cache: string, name: string): number {
  const blobs = join(cache, `models--${name.replace('/', '--')}`, 'blobs')
  // A file may get its final name while we look.
  const sizes = (existsSync(blobs) ? readdirSync(blobs) : []).map(
    blob => statSync(join(blobs, blob), { throwIfNoEntry: false })?.size ?? 0,
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}
