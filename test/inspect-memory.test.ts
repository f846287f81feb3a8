/** The memory that inspect says is what a process grows by when it loads the model. */
import { join } from 'node:path'
import { type Dtype, inspect } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { BASE, makeResized } from '../benches/resized.mjs'
import { goldenFolder, program, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'

const DTYPES: Dtype[] = ['float32', 'bfloat16', 'int8']
const SIZES = { ...BASE, hidden: 512, heads: 8, intermediate: 2048 }
/** Most is tables; most is matrices; tables that are projected; vectors of distances; gated networks. */
const MODELS = [
  ['bert', { ...SIZES, vocabulary: 20_000 }],
  ['bert', SIZES],
  ['albert', { ...SIZES, vocabulary: 60_000, embedding: 256 }],
  ['deberta-v2', SIZES],
  ['modernbert', SIZES],
] as const

// Resident memory can be read exactly where the kernel counts it so.
describe.skipIf(process.platform !== 'linux')('what loading takes', () => {
  test.each(MODELS)('%s with %o', { timeout: 600_000 }, async (family, sizes) => {
    const folder = join(temporaryFolder(), 'model')
    makeResized(family, sizes, folder)
    const { memory } = await inspect(folder)
    for (const dtype of DTYPES) {
      const args = ['--expose-gc', program('load-and-report.mjs'), folder, goldenFolder(family), dtype]
      const { code, stdout, stderr } = await runNode(args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const [stated, grown] = [memory[dtype]! / 1e6, Number(stdout)]
      // Beside the weights there is what a run needs: int8 has looked at samples.
      expect(grown, `${dtype}: ${stated} MB`).toBeGreaterThan(0.97 * stated - 1)
      expect(grown, `${dtype}: ${stated} MB`).toBeLessThan(1.05 * stated + 4)
    }
  })
})
