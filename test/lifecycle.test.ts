import { cpSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { BertLayersError, Encoder } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import type * as Native from '../ts/native.ts'
import { sameBits } from './support/compare.ts'
import { expectFailure, failureOf } from './support/errors.ts'
import { goldenFolder, PACKAGE, program, temporaryFolder } from './support/paths.ts'
import { runNode } from './support/process.ts'
import { copyTinyModel, editConfig } from './support/tiny-model.ts'

describe('an encoder', () => {
  test('says what it is, and cannot be changed', async () => {
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    expect(bert.config).toEqual({
      modelType: 'bert',
      numLayers: 4,
      hiddenSize: 48,
      numHeads: 4,
      vocabSize: 211,
      maxTokens: 80,
    })
    expect(Object.isFrozen(bert.config)).toBe(true)
    expect(bert.device).toBe('cpu')
    expect(bert.dtype).toBe('float32')
    expect(bert.fingerprint).toMatch(/^\S{16,}$/)
  })

  test('has the fingerprint of its weights', async () => {
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    await using copy = await Encoder.fromPretrained(copyTinyModel(temporaryFolder()))
    await using other = await Encoder.fromPretrained(goldenFolder('bert-relu'))
    expect(copy.fingerprint).toBe(bert.fingerprint)
    expect(other.fingerprint).not.toBe(bert.fingerprint)
  })

  test('rejects everything after dispose; what it gave stays', async () => {
    const bert = await Encoder.fromPretrained(goldenFolder('bert'))
    const states = await bert.encode({ ids: [1, 2] })
    const copy = states.data.slice()
    await bert.dispose()
    await bert.dispose()
    await bert[Symbol.asyncDispose]()
    await expectFailure(() => bert.encode({ ids: [1] }), 'ERR_DISPOSED', /fromPretrained/)
    await expectFailure(() => bert.tokenize({ ids: [1] }), 'ERR_DISPOSED')
    await expectFailure(() => bert.countTokens({ ids: [1] }), 'ERR_DISPOSED')
    await expectFailure(() => bert.decode([1]), 'ERR_DISPOSED')
    expect(states.data).toEqual(copy)
    expect(bert.config.numLayers).toBe(4)
  })

  test('gives the memory of a result back when the result is disposed of', async () => {
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    const inputs = [{ ids: [1, 2, 3] }, { ids: [4] }]
    const kept = await bert.encode(inputs, { pooler: true, attentions: true })
    const states = await bert.encode(inputs, { pooler: true, attentions: true })
    const { data, poolerOutput, attentions, texts } = states
    const view = states.get(1, 0)
    expect(view.length).toBe(3 * 48)
    states.dispose()
    states.dispose()
    states[Symbol.dispose]()
    for (const array of [data, poolerOutput, attentions, view]) expect(array?.length).toBe(0)
    await expectFailure(() => states.layer(1), 'ERR_DISPOSED', /slice/)
    await expectFailure(() => states.get(1, 0), 'ERR_DISPOSED')
    await expectFailure(() => states.token(1, 0, 0), 'ERR_DISPOSED')
    await expectFailure(() => states.padded(1), 'ERR_DISPOSED')
    await expectFailure(() => states.attention(1, 0, 0), 'ERR_DISPOSED')
    expect(texts[0]?.ids).toEqual([1, 2, 3])
    const copy = kept.data.slice()
    {
      using again = await bert.encode(inputs, { pooler: true, attentions: true })
      expect(sameBits(again.data, copy)).toBe(true)
    }
    expect(sameBits(kept.data, copy), 'of nobody else').toBe(true)
  })

  test('a result that was transferred to another thread can be disposed of', async () => {
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    const states = await bert.encode({ ids: [1, 2, 3] })
    const copy = states.data.slice()
    const { buffer } = states.data
    const moved = structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
    states.dispose()
    expect(sameBits(new Float32Array(moved), copy)).toBe(true)
  })

  test('finishes what is in flight when it is disposed', async () => {
    await using other = await Encoder.fromPretrained()
    const bert = await Encoder.fromPretrained()
    const inputs = Array.from({ length: 20 }, (_, text) => 'word '.repeat(20 + text))
    const encoding = bert.encode(inputs)
    let encoded = false
    encoding.then(() => {
      encoded = true
    })
    await bert.dispose()
    await Promise.resolve()
    expect(encoded).toBe(true)
    expect(sameBits((await encoding).data, (await other.encode(inputs)).data)).toBe(true)
  })

  test('shares its weights with another of the same folder, which outlives it', async () => {
    const first = await Encoder.fromPretrained(goldenFolder('bert'))
    const second = await Encoder.fromPretrained(goldenFolder('bert'))
    const expected = await first.encode({ ids: [1, 2] })
    await first.dispose()
    expect((await second.encode({ ids: [1, 2] })).data).toEqual(expected.data)
    await second.dispose()
  })

  test('is loaded afresh from a folder whose files have changed', async () => {
    const folder = copyTinyModel(temporaryFolder())
    await using before = await Encoder.fromPretrained(folder)
    for (const file of ['config.json', 'model.safetensors'])
      cpSync(join(goldenFolder('bert-relu'), file), join(folder, file))
    await using after = await Encoder.fromPretrained(folder)
    await using relu = await Encoder.fromPretrained(goldenFolder('bert-relu'))
    expect(after.fingerprint).toBe(relu.fingerprint)
    expect(after.fingerprint).not.toBe(before.fingerprint)
    editConfig(folder, { hidden_act: 'gelu' })
    await using edited = await Encoder.fromPretrained(folder)
    expect((await edited.encode({ ids: [5] })).layer(1)).not.toEqual((await relu.encode({ ids: [5] })).layer(1))
  })

  test('loaded twice, worker threads included, takes the memory of one', async () => {
    const { stdout, stderr } = await runNode(['--expose-gc', program('shared-weights.mjs')])
    expect(stderr).toBe('')
    const grown = JSON.parse(stdout) as Record<'first' | 'second' | 'named' | 'worker', number>
    // 22.6 million float32 weights are 90 MB.
    expect(grown.first).toBeGreaterThan(60)
    expect(grown.second).toBeLessThan(30)
    expect(grown.named).toBeLessThan(30) // 'cpu' is what 'auto' became
    expect(grown.worker).toBeLessThan(60) // a thread's own heap, and no weights
  })

  // Elsewhere the allocator decides when memory goes back.
  test.runIf(usesGlibc())('gives its memory back when it is disposed', async () => {
    const { stdout, stderr } = await runNode(['--expose-gc', program('dispose.mjs'), goldenFolder('bert')])
    expect(stderr).toBe('')
    const { before, loaded, disposed } = JSON.parse(stdout) as Record<'before' | 'loaded' | 'disposed', number>
    expect(loaded - before).toBeGreaterThan(60)
    expect(loaded - disposed).toBeGreaterThan(30)
  })

  test('is not constructed: the error says how it is loaded', async () => {
    const PlainEncoder = Encoder as unknown as new (...args: unknown[]) => unknown
    for (const args of [[], ['bert-base-uncased'], [null], [{}]]) {
      await expectFailure(() => new PlainEncoder(...args), 'ERR_INVALID_INPUT', /Encoder\.fromPretrained/)
    }
  })
})

function usesGlibc(): boolean {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime !== undefined
}

describe('errors', () => {
  test('a panic in Rust arrives as an error', async () => {
    const { native } = (await import(join(PACKAGE, 'dist/native.js'))) as typeof Native
    const { error } = await native().panicForTest()
    expect(error?.code).toBe('ERR_INTERNAL')
    expect(error?.message).toBeTruthy()
    await using bert = await Encoder.fromPretrained(goldenFolder('bert'))
    expect((await bert.encode({ ids: [1] })).data.length).toBe(5 * 48)
  })

  test('are errors, with a name, a code and a message', async () => {
    const error = (await failureOf(() => Encoder.fromPretrained('./no/such/folder'))) as BertLayersError
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).toMatch(/^BertLayersError: .*no\/such\/folder/)
    expect(Object.keys(error)).toEqual(['code'])
  })

  test('instanceof holds between the ESM and the CommonJS copy, and only for these errors', () => {
    const cjs = createRequire(import.meta.url)(join(PACKAGE, 'dist/index.cjs')) as {
      BertLayersError: typeof BertLayersError
    }
    expect(cjs.BertLayersError).not.toBe(BertLayersError)
    expect(new cjs.BertLayersError('ERR_BUSY', '')).toBeInstanceOf(BertLayersError)
    expect(new BertLayersError('ERR_BUSY', '')).toBeInstanceOf(cjs.BertLayersError)
    class Special extends BertLayersError {}
    expect(new Special('ERR_BUSY', '')).toBeInstanceOf(BertLayersError)
    expect(new BertLayersError('ERR_BUSY', '')).not.toBeInstanceOf(Special)
    expect(new Special('ERR_BUSY', '')).toBeInstanceOf(Special)
    for (const other of [new Error('ERR_BUSY'), { code: 'ERR_BUSY' }, null, undefined, 'ERR_BUSY']) {
      expect(other instanceof BertLayersError).toBe(false)
    }
  })
})
