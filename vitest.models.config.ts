import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { MODELS, REAL_MODELS } from './test/support/real-models.ts'
import base from './vitest.config.ts'

const found = REAL_MODELS.some(name => existsSync(join(MODELS, name)))
if (!found) console.log(`not run: no real models in ${MODELS}; BERT_MODELS may name another folder`)

/** `npm run test:models`: real models, those of them that are there. */
export default defineConfig({
  test: {
    ...base.test,
    include: found ? ['test/models.test.ts', 'test/sts.test.ts'] : [],
    exclude: [],
    passWithNoTests: !found,
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
