const { BertLayersError, Encoder } = require('bert-layers')
const { check } = require('./check.cjs')

test('encodes in Jest', async () => {
  await check(Encoder)
  await expect(Encoder.fromPretrained('./no-such-folder')).rejects.toBeInstanceOf(BertLayersError)
})
