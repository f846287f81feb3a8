import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { BertLayersError, Encoder } from 'bert-layers'

// By path: newer Nodes give `require('bert-layers')` the ES module, and then there is one copy only.
const require = createRequire(import.meta.url)
const required = require(join(dirname(require.resolve('bert-layers/package.json')), 'dist', 'index.cjs'))
assert.notEqual(required.BertLayersError, BertLayersError)

for (const [Here, There] of [
  [{ Encoder, BertLayersError }, required],
  [required, { Encoder, BertLayersError }],
]) {
  const error = await Here.Encoder.fromPretrained('./no-such-folder').catch(error => error)
  assert.ok(error instanceof Here.BertLayersError)
  assert.ok(error instanceof There.BertLayersError)
  assert.ok(error instanceof Error)
  assert.equal(error.code, 'ERR_MODEL_NOT_FOUND')
  assert.ok(!(new Error('another') instanceof There.BertLayersError))
}
console.log('ok')
