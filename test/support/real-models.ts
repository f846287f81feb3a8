import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where real models are, in Hugging Face layout, and what Transformers gives for them. Neither comes with the repository. */
export const MODELS = process.env.BERT_MODELS ?? join(homedir(), '.cache/bert-models')
export const GOLDENS =
  process.env.BERT_GOLDENS ?? fileURLToPath(new URL('../../../shared/goldens/real', import.meta.url))

/** Data sets, where they are; not part of the repository either. */
export const DATA = process.env.BERT_DATA ?? fileURLToPath(new URL('../../../shared/data', import.meta.url))

export const REAL_MODELS = [
  'all-minilm-l6-v2',
  'bert-base-uncased',
  'bert-base-multilingual-cased',
  'bge-small-zh-v1.5',
]

/** STS-B: lines `sentence,sentence,score` in stsb-en-dev.csv and stsb-en-test.csv. */
export const STSB = process.env.BERT_STSB ?? fileURLToPath(new URL('../../../shared/data/stsb', import.meta.url))
