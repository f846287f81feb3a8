/**
 * Which of a model's files are needed, and no more: its configuration, its tokenizer, what sentence-transformers says of it,
 * and its weights in the best single format.
 */

import type { WeightFormat } from '../../index.d.ts'
import { checkFileName } from './names.ts'

/** What is known of a model's files: those of a listing, or those of a folder in the cache. */
export interface KnownFiles {
  /** undefined where nobody has asked the hub yet. */
  has(path: string): boolean | undefined
  /** The text of a file that is there. */
  read(path: string): Promise<string>
}

export interface Choice {
  config: string | undefined
  /** All files of one format; none where no format is complete. */
  weights: string[]
  /** The rest: tokenizer, sentence-transformers. */
  others: string[]
  /** Files that would be needed if the model has them, which nobody knows yet. */
  unknown: string[]
  /** Files that would be needed, and that the model does not have. */
  absent: string[]
}

/** The first that is there counts. */
const CONFIGS = ['config.json', 'bert_config.json']
/**
 * Best first, as crates/bert-layers/src/weights reads them; all files of a format are needed. An index names the shards that are
 * needed with it.
 */
const WEIGHTS: readonly [WeightFormat, first: string, ...others: string[]][] = [
  ['safetensors', 'model.safetensors'],
  ['safetensors', 'model.safetensors.index.json'],
  ['pytorch', 'pytorch_model.bin'],
  ['pytorch', 'pytorch_model.bin.index.json'],
  ['pytorch', 'pytorch_model.pt'],
  ['pytorch', 'model.pt'],
  ['pytorch', 'model.bin'],
  ['flax', 'flax_model.msgpack'],
  ['flax', 'flax_model.msgpack.index.json'],
  ['tensorflow', 'bert_model.ckpt.index', 'bert_model.ckpt.data-00000-of-00001'],
  ['tensorflow', 'model.ckpt.index', 'model.ckpt.data-00000-of-00001'],
  ['tensorflow', 'variables/variables.index', 'variables/variables.data-00000-of-00001'],
]
/** The first that is there counts: with a tokenizer.json no other vocabulary is read. */
const VOCABULARIES = [
  ['tokenizer.json'],
  ['vocab.txt'],
  ['vocab.json', 'merges.txt'],
  // Not read; but they tell why there is no tokenizer.
  ['sentencepiece.bpe.model'],
  ['spm.model'],
  ['spiece.model'],
  ['tokenizer.model'],
] as const
const OPTIONAL = [
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'config_sentence_transformers.json',
  'sentence_bert_config.json',
] as const
const MODULES = 'modules.json'

export async function chooseFiles(known: KnownFiles): Promise<Choice> {
  const isThere = (path: string) => known.has(path) === true
  const choice: Choice = { config: CONFIGS.find(isThere), weights: [], others: [], unknown: [], absent: [] }
  const take = (path: string) => {
    const there = known.has(path)
    const list = there === undefined ? choice.unknown : there ? choice.others : choice.absent
    list.push(path)
    return there === true
  }
  for (const path of OPTIONAL) take(path)
  if (take(MODULES)) for (const path of await moduleFiles(known)) take(path)
  for (const files of VOCABULARIES) if (files.map(take).every(Boolean)) break
  for await (const { files } of completeWeights(known)) {
    choice.weights = files
    break
  }
  return choice
}

/** The formats of which all files are there, best first; an index is read when its turn comes. */
export async function* completeWeights(known: KnownFiles): AsyncGenerator<{ format: WeightFormat; files: string[] }> {
  const isThere = (path: string) => known.has(path) === true
  for (const [format, ...named] of WEIGHTS) {
    if (!named.every(isThere)) continue
    const files = [...named, ...(await shards(known, named[0]))]
    if (files.every(isThere)) yield { format, files }
  }
}

/** Of the files that are needed, those that say what a model is, beside its configuration and its weights: all are small. */
export function isDescription(path: string): boolean {
  return (
    path === MODULES ||
    path.endsWith('/config.json') ||
    ['config_sentence_transformers.json', 'sentence_bert_config.json'].includes(path)
  )
}

/** The vocabulary among the files that are needed, if there is one that is read. */
export function vocabularyOf(paths: string[]): string | undefined {
  return ['tokenizer.json', 'vocab.txt', 'vocab.json'].find(name => paths.includes(name))
}

/** Files that look like weights, for the message where none can be used. */
export function looksLikeWeights(path: string): boolean {
  return /\.(bin|ckpt|gguf|h5|msgpack|onnx|ot|pt|pth|safetensors|tflite)$/.test(path)
}

/** The configurations of sentence-transformers' steps, such as 1_Pooling/config.json. */
async function moduleFiles(known: KnownFiles): Promise<string[]> {
  const modules = parse(await known.read(MODULES))
  if (!Array.isArray(modules)) return [] // who reads it will say so
  const folders = modules.map(module => (module as { path?: unknown } | null)?.path)
  return named(folders.filter(path => path !== '').map(path => `${path}/config.json`))
}

/** The files that an index names; none for what is no index. */
async function shards(known: KnownFiles, path: string): Promise<string[]> {
  if (!path.endsWith('.index.json')) return []
  const map = (parse(await known.read(path)) as { weight_map?: unknown } | undefined)?.weight_map
  if (typeof map !== 'object' || map === null) return [] // who reads it will say so
  return named(Object.values(map))
}

/** File names that a file of the model gives, each once: whoever wrote it may have meant harm. */
function named(names: unknown[]): string[] {
  const paths = [...new Set(names)].filter(name => typeof name === 'string')
  for (const path of paths) checkFileName(path)
  return paths
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
