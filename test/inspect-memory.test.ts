/** The memory that inspect says is what a process grows by when it loads the model. */
import { join } from 'node:path'
import { type Dtype, inspect } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { BASE, makeResized } from '../benches/resized.mjs'
import { goldenFolder, program, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'

const DTYPES: Dtype[] = ['float32', 'bfloat16', 'int8']
/** glibc gives large blocks back as soon as they are freed, so that what is resident is what is in use. */
const GIVEN_BACK = { MALLOC_MMAP_THRESHOLD_: '65536' }
const SIZES = { ...BASE, hidden: 512, heads: 8, intermediate: 2048 }
/** Most is tables; most is matrices; tables that are projected; vectors of distances; gated networks. */
const MODELS = [
  ['bert', { ...SIZES, vocabulary: 20_000 }],
  ['bert', SIZES],
  ['albert', { ...SIZES, vocabulary: 60_000, embedding: 256 }],
  ['deberta-v2', SIZES],
  ['modernbert', SIZES],
] as const
/** musl and others have no such setting. */
const isGlibc = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime

describe.skipIf(!isGlibc)('what loading takes', () => {
  test.each(MODELS)('%s (%#)', { timeout: 600_000 }, async (family, sizes) => {
    const folder = join(temporaryFolder(), 'model')
    makeResized(family, sizes, folder)
    const { memory } = await inspect(folder)
    for (const dtype of DTYPES) {
      const args = ['--expose-gc', program('load-and-report.mjs'), folder, goldenFolder(family), dtype]
      const { code, stdout, stderr } = await runNode(args, { env: GIVEN_BACK })
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const [stated, grown] = [memory[dtype]! / 1e6, Number(stdout)]
      expect(grown, `${dtype}: ${stated} MB`).toBeGreaterThan(0.97 * stated - 1)
      // int8 has run samples through the model: what that took is kept for the next run.
      expect(grown, `${dtype}: ${stated} MB`).toBeLessThan(1.03 * stated + (dtype === 'int8' ? 12 : 2))
    }
  })
})
