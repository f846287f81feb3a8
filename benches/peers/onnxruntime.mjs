/** onnxruntime-node as an engine of the race, where it is installed: onnxruntime.mjs f32|int8 THREADS */
import { join } from 'node:path'
import { onnxruntime, padded, ROOT, serve } from './work.mjs'

const [precision, threads] = process.argv.slice(2)
try {
  const { InferenceSession, Tensor } = await onnxruntime()
  const file = { f32: 'f32.onnx', int8: 'int8-dynamic.onnx' }[precision]
  const session = await InferenceSession.create(join(ROOT, file), { intraOpNumThreads: Number(threads) })
  await serve(
    lengths => {
      const { tokens, mask, dims } = padded(lengths)
      return { ids: new Tensor('int64', tokens, dims), mask: new Tensor('int64', mask, dims) }
    },
    async feeds => (await session.run(feeds)).hs.data,
  )
} catch (error) {
  console.log(JSON.stringify({ ready: false, why: error.message }))
}
