// Runs in any host of Node-API: plain assertions of node:assert, nothing that only Node has. Prints a line a check; the exit status says
// whether all passed.
//
//     HOST checks.mjs FIXTURES [CHECK...]
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { Worker } from 'node:worker_threads'
import { BertLayersError, Encoder, VectorIndex } from 'bert-layers'

const [fixtures, ...chosen] = process.argv.slice(2)
const golden = join(fixtures, 'goldens', 'bert')
const bits = array => Buffer.from(array.buffer, array.byteOffset, array.byteLength)
const code = expected => error => error instanceof BertLayersError && error.code === expected

/** What a check made; disposed after it. (Node 20 has no `await using`.) */
const owned = []

async function load(model) {
  const encoder = await Encoder.fromPretrained(model)
  owned.push(encoder)
  return encoder
}

const checks = {
  async 'the embedded model gives the vectors of sentence-transformers'() {
    const { texts } = JSON.parse(readFileSync(join(fixtures, 'all-minilm-l6-v2.json'), 'utf8'))
    const encoder = await load()
    const tokenized = await encoder.tokenize(texts.map(({ text }) => text))
    const vectors = await encoder.embed(texts.map(({ text }) => text))
    for (const [index, { tokens, embedding }] of texts.entries()) {
      assert.deepEqual(tokenized[index].tokens, tokens)
      const vector = vectors.get(index)
      assert.equal(vector.length, embedding.length)
      // The embedded weights are float16.
      const cosine = embedding.reduce((sum, value, place) => sum + value * vector[place], 0)
      assert.ok(cosine > 0.9999 && cosine < 1.0001, `cosine ${cosine} of '${texts[index].text}'`)
    }
  },

  async 'hidden states equal those of Transformers'() {
    const {
      ids,
      typeIds,
      mask,
      states: expected,
      layers,
      hidden,
    } = readGolden(join(golden, 'goldens.safetensors'), 'short')
    const encoder = await load(golden)
    const lengths = mask.map(row => row.filter(Boolean).length)
    const states = await encoder.encode(
      ids.map((row, text) => ({
        ids: row.slice(0, lengths[text]),
        typeIds: typeIds[text].slice(0, lengths[text]),
      })),
    )
    assert.equal(states.layers.length, layers)
    const longest = ids[0].length
    for (const layer of states.layers) {
      for (const [text, length] of lengths.entries()) {
        const start = (layer * ids.length + text) * longest * hidden
        const view = states.get(layer, text)
        assert.equal(view.length, length * hidden)
        for (let i = 0; i < view.length; i++) {
          const difference = Math.abs(view[i] - expected[start + i])
          assert.ok(difference <= 2e-4, `layer ${layer} of text ${text} is off by ${difference}`)
        }
      }
    }
  },

  async 'layer, get and token are views of one buffer'() {
    const encoder = await load(golden)
    const inputs = [{ ids: [2, 7, 9, 3] }, { ids: [2, 3] }, { ids: [2, 100, 101, 102, 103, 3] }]
    const [starts, tokens] = [[0, 4, 6], 12]
    const states = await encoder.encode(inputs)
    assert.deepEqual([...states.layers], [0, 1, 2, 3, 4])
    assert.equal(states.data.length, 5 * tokens * 48)
    assert.equal(states.data.buffer.byteLength, states.data.byteLength)
    for (const layer of states.layers) {
      assert.equal(states.layer(layer).buffer, states.data.buffer)
      assert.equal(states.layer(layer).byteOffset, layer * tokens * 48 * 4)
      assert.equal(states.layer(layer).length, tokens * 48)
      for (const [text, { ids }] of inputs.entries()) {
        const view = states.get(layer, text)
        assert.equal(view.buffer, states.data.buffer)
        assert.equal(view.byteOffset, (layer * tokens + starts[text]) * 48 * 4)
        assert.equal(view.length, ids.length * 48)
        for (const token of ids.keys()) {
          const row = states.token(layer, text, token)
          assert.equal(row.buffer, states.data.buffer)
          assert.equal(row.byteOffset, view.byteOffset + token * 48 * 4)
          assert.equal(row.length, 48)
        }
      }
    }
    const some = await encoder.encode(inputs, { layers: [-1, 1] })
    assert.deepEqual([...some.layers], [4, 1])
    assert.deepEqual(some.layer(-1), states.layer(4))
    assert.equal(some.layer(-1).byteOffset, 0)
    assert.throws(() => some.layer(2), code('ERR_INVALID_INPUT'))
    assert.throws(() => states.get(0, 3), code('ERR_INVALID_INPUT'))
    assert.throws(() => states.token(0, 0, 4), code('ERR_INVALID_INPUT'))
    const { data, shape } = states.padded(-1)
    assert.deepEqual([...shape], [3, 6, 48])
    assert.notEqual(data.buffer, states.data.buffer)
    assert.deepEqual(data.slice(6 * 48, 6 * 48 + 2 * 48), states.get(4, 1).slice())
    assert.ok(data.subarray(6 * 48 + 2 * 48, 12 * 48).every(value => value === 0))
  },

  async 'views can be written, cloned and sliced'() {
    const encoder = await load(golden)
    const states = await encoder.encode({ ids: [2, 7, 3] })
    const before = states.get(1, 0).slice()
    const clone = structuredClone(states.get(1, 0))
    assert.deepEqual(clone, before)
    states.get(1, 0).fill(7)
    assert.equal(states.layer(1)[0], 7)
    assert.deepEqual(clone, before)
    assert.deepEqual((await encoder.encode({ ids: [2, 7, 3] })).get(1, 0), before)
  },

  async 'the views of a result that was disposed of are empty'() {
    const encoder = await load(golden)
    const states = await encoder.encode({ ids: [2, 7, 3] })
    const view = states.get(1, 0)
    const before = view.slice()
    states.dispose()
    assert.equal(view.length, 0)
    assert.equal(states.data.length, 0)
    assert.throws(() => states.get(1, 0), code('ERR_DISPOSED'))
    assert.deepEqual((await encoder.encode({ ids: [2, 7, 3] })).get(1, 0), before)
  },

  async 'a result stays as it is while memory is used again, and memory is used again'() {
    const encoder = await load()
    const inputs = Array.from({ length: 16 }, (_, text) => 'word '.repeat(20 + text))
    const kept = await encoder.encode(inputs)
    const before = Uint8Array.from(bits(kept.data))
    for (let call = 0; call < 20; call++) await encode()
    const resident = process.memoryUsage().rss
    let given = 0
    for (let call = 0; call < 100; call++) given += await encode()
    const grown = process.memoryUsage().rss - resident
    assert.ok(given > 4e8, `${given} bytes were given out`)
    assert.ok(grown < given / 2, `resident memory grew by ${grown} bytes of ${given}`)
    assert.ok(Buffer.from(before).equals(bits(kept.data)))

    async function encode() {
      const { data } = await encoder.encode(inputs)
      assert.equal(data.length, kept.data.length)
      await new Promise(resolve => setImmediate(resolve))
      return data.byteLength
    }
  },

  async 'calls at once give what each gives alone'() {
    const encoder = await load()
    const texts = Array.from({ length: 12 }, (_, index) => `${'river '.repeat(index + 1)}bank`)
    const together = await Promise.all(texts.map(text => encoder.encode(text, { layers: [-1, 3] })))
    for (const [index, text] of texts.entries()) {
      const alone = await encoder.encode(text, { layers: [-1, 3] })
      assert.ok(bits(together[index].data).equals(bits(alone.data)), text)
    }
  },

  async 'streams and the search'() {
    const encoder = await load()
    const texts = ['a cat sits on the mat', 'stock markets fell today', 'the kitten is asleep']
    const rows = []
    for await (const { vector } of encoder.stream(texts, { embed: {} })) rows.push(vector)
    assert.equal(rows.length, 3)
    const index = VectorIndex.from(rows)
    owned.push(index)
    const found = await index.search([(await encoder.embed('a kitten on a mat')).get(0)], 3)
    assert.equal(found.get(0).at(-1).index, 1)
  },

  async 'an AbortSignal ends a call'() {
    const encoder = await load()
    const long = Array.from({ length: 64 }, () => ({ ids: new Uint32Array(256).fill(2000) }))
    const reason = new Error('enough')
    const controller = new AbortController()
    const call = encoder.encode(long, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 20)
    await assert.rejects(call, error => error === reason)
    assert.equal((await encoder.encode('still there')).texts.length, 1)
  },

  async 'errors have their codes'() {
    await assert.rejects(Encoder.fromPretrained(join(fixtures, 'no-such-model')), code('ERR_MODEL_NOT_FOUND'))
    const encoder = await Encoder.fromPretrained(golden)
    await assert.rejects(encoder.encode({ ids: [1_000_000] }), code('ERR_INVALID_INPUT'))
    await assert.rejects(encoder.encode({ ids: new Array(1000).fill(5) }), code('ERR_TOO_MANY_TOKENS'))
    await encoder.dispose()
    await assert.rejects(encoder.encode({ ids: [5] }), code('ERR_DISPOSED'))
  },

  async 'worker threads compute the same, end, and are terminated mid-encode'() {
    const encoder = await load()
    const mine = [...bits((await encoder.encode('a worker thread')).get(-1, 0))]
    for (const end of ['exit', 'terminate', 'terminate', 'exit']) {
      const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: end })
      const exited = once(worker, 'exit')
      const [theirs] = await once(worker, 'message')
      assert.deepEqual([...theirs], mine)
      if (end === 'terminate') await worker.terminate()
      await exited
    }
    assert.deepEqual([...bits((await encoder.encode('a worker thread')).get(-1, 0))], mine)
  },
}

/** A padded batch of goldens.safetensors and its hidden states. */
function readGolden(path, name) {
  const file = readFileSync(path)
  const length = Number(file.readBigUInt64LE())
  const header = JSON.parse(file.toString('utf8', 8, 8 + length))
  const tensor = key => {
    const { shape, data_offsets } = header[`${name}.${key}`]
    return { shape, buffer: Uint8Array.from(file.subarray(...data_offsets.map(at => 8 + length + at))).buffer }
  }
  const rows = key => {
    const { shape, buffer } = tensor(key)
    const all = Array.from(new BigInt64Array(buffer), Number)
    return Array.from({ length: shape[0] }, (_, text) => all.slice(text * shape[1], (text + 1) * shape[1]))
  }
  const { shape, buffer } = tensor('hidden_states')
  const [ids, typeIds, mask] = [rows('input_ids'), rows('token_type_ids'), rows('attention_mask')]
  return { ids, typeIds, mask, states: new Float32Array(buffer), layers: shape[0], hidden: shape[3] }
}

let passed = 0
for (const [name, check] of Object.entries(checks)) {
  if (chosen.length > 0 && !chosen.some(word => name.includes(word))) continue
  try {
    await check()
    passed++
    console.log(`  ok ${name}`)
  } catch (error) {
    process.exitCode = 1
    console.log(`  FAILED ${name}\n${error.stack}`)
  } finally {
    while (owned.length > 0) await owned.pop().dispose()
  }
}
console.log(`${passed} of ${chosen.length > 0 ? 'the chosen' : Object.keys(checks).length} checks passed`)
