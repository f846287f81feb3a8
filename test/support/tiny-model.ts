import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { goldenFolder } from './paths.ts'
import { formatSafetensors, readSafetensors, type TensorEntry } from './safetensors.ts'

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
const WORDS = ['the', 'river', 'bank', 'play', 'un', 'hello', 'world', '世', '界', '😀', ',', '.', '!', '?', "'"]
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz0123456789']

/** Fewer than the tiny model's 211 rows; letters make every ASCII word known. */
export const TINY_VOCABULARY = [
  ...SPECIAL,
  ...WORDS,
  '##ing',
  '##able',
  ...LETTERS,
  ...LETTERS.map(letter => `##${letter}`),
]

/** The tiny golden model as a folder of its own, without a tokenizer: it takes ids only. */
export function copyTinyModel(folder: string): string {
  mkdirSync(folder, { recursive: true })
  for (const file of ['config.json', 'model.safetensors']) cpSync(join(goldenFolder('bert'), file), join(folder, file))
  return folder
}

export function readConfig(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>
}

/** Changes fields of config.json; undefined takes one away. */
export function editConfig(folder: string, changes: Record<string, unknown>): void {
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...readConfig(folder), ...changes }))
}

export function writeVocabulary(folder: string, words: readonly string[] = TINY_VOCABULARY): void {
  writeFileSync(join(folder, 'vocab.txt'), `${words.join('\n')}\n`)
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ do_lower_case: true }))
}

export function writeTokenizer(folder: string, words: readonly string[] = TINY_VOCABULARY): void {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(bertTokenizer(words)))
}

/** tokenizer.json as Transformers writes it for BERT. */
function bertTokenizer(words: readonly string[]) {
  const special = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } })
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } })
  const single = [special('[CLS]', 0), sequence('A', 0), special('[SEP]', 0)]
  const named = (token: string) => [token, { id: token, ids: [words.indexOf(token)], tokens: [token] }]
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, sequence('B', 1), special('[SEP]', 1)],
      special_tokens: Object.fromEntries(['[CLS]', '[SEP]'].map(named)),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  }
}

/** Takes the tensors away that have such names. */
export function dropTensors(folder: string, drop: (name: string) => boolean): void {
  const path = join(folder, 'model.safetensors')
  const { header, data } = readSafetensors(path)
  const parts: Buffer[] = []
  const kept: Record<string, TensorEntry> = {}
  let offset = 0
  for (const [name, tensor] of Object.entries(header)) {
    if (drop(name)) continue
    const bytes = data.subarray(...tensor.data_offsets)
    kept[name] = { ...tensor, data_offsets: [offset, offset + bytes.length] }
    offset += bytes.length
    parts.push(bytes)
  }
  writeFileSync(path, formatSafetensors(kept, Buffer.concat(parts)))
}
