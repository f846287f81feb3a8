import { BertLayersError, Encoder } from 'bert-layers'
import { expect, test } from 'vitest'
import { check } from './check.cjs'

test('encodes in vitest', async () => {
  await check(Encoder)
  await expect(Encoder.fromPretrained('./no-such-folder')).rejects.toBeInstanceOf(BertLayersError)
})
