import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { MODELS, REAL_MODELS, STSB } from './test/support/real-models.ts'
import base from './vitest.config.ts'

const found = REAL_MODELS.some(name => existsSync(join(MODELS, name)))
if (!found) console.log(`not run: no real models in ${MODELS}; BERT_MODELS may name another folder`)

const pairs = existsSync(join(STSB, 'stsb-en-test.csv'))
if (!pairs) console.log(`not run: no sentences of STS-B in ${STSB}; BERT_STSB may name another folder`)
const include = [
  ...(found ? ['test/models.test.ts', 'test/sts.test.ts'] : []),
  ...(pairs ? ['test/models-recall.test.ts'] : []),
]

/** `npm run test:models`: real models, those of them that are there. */
export default defineConfig({
  test: {
    ...base.test,
    include,
    exclude: [],
    passWithNoTests: include.length === 0,
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
