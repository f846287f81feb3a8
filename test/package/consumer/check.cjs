const assert = require('node:assert/strict')

/** Encodes with the embedded model: the tokens, all seven layers, as views of one buffer. */
exports.check = async function check(Encoder) {
  const bert = await Encoder.fromPretrained()
  const states = await bert.encode(['你好，世界！', 'Hello, world!'])
  // Joined, since Jest runs this in a realm of its own, whose arrays have another prototype than Node's.
  assert.equal(states.layers.join(), '0,1,2,3,4,5,6')
  assert.equal(states.texts[0].text, '你好，世界！')
  assert.equal(states.texts[0].tokens[0], '[CLS]')
  assert.equal(states.texts[1].tokens.join(' '), '[CLS] hello , world ! [SEP]')
  const last = states.get(-1, 0)
  assert.equal(last.length, states.texts[0].ids.length * 384)
  assert.equal(last.buffer, states.data.buffer)
  assert.ok(last.every(Number.isFinite))
  // A Uint32Array of that realm is an input like any other.
  const again = await bert.encode({ ids: Uint32Array.from(states.texts[0].ids) }, { layers: -1 })
  assert.deepEqual([...again.data], [...last])
  await bert.dispose()
}
