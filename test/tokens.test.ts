import { inspect } from 'node:util'
import { Encoder, type TokenizedText } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from './support/paths.ts'
import { copyTinyModel, TINY_VOCABULARY, writeTokenizer, writeVocabulary } from './support/tiny-model.ts'
import { runs } from './support/verify.ts'

let bert: Encoder

beforeAll(async () => {
  bert = await Encoder.fromPretrained()
})
afterAll(() => bert.dispose())

async function tokenizeOne(...args: Parameters<Encoder['tokenize']>): Promise<TokenizedText> {
  const texts = await bert.tokenize(...args)
  expect(texts).toHaveLength(1)
  return texts[0]!
}

/** The text of each token that is not special. */
function sources({ offsets, sequenceIds, text, pair }: TokenizedText): (string | undefined)[] {
  return offsets.flatMap(([start, end], token) => {
    const sequence = sequenceIds[token]
    return sequence === null ? [] : [(sequence === 0 ? text : pair)?.slice(start, end)]
  })
}

describe('tokens of a text', () => {
  test('every column', async () => {
    const text = await tokenizeOne('Hello, embeddings!')
    expect(text.toJSON()).toEqual({
      text: 'Hello, embeddings!',
      pair: undefined,
      tokens: ['[CLS]', 'hello', ',', 'em', '##bed', '##ding', '##s', '!', '[SEP]'],
      ids: [101, 7592, 1010, 7861, 8270, 4667, 2015, 999, 102],
      typeIds: [0, 0, 0, 0, 0, 0, 0, 0, 0],
      offsets: [
        [0, 0],
        [0, 5],
        [5, 6],
        [7, 9],
        [9, 12],
        [12, 16],
        [16, 17],
        [17, 18],
        [0, 0],
      ],
      wordIds: [null, 0, 1, 2, 2, 2, 2, 3, null],
      sequenceIds: [null, 0, 0, 0, 0, 0, 0, 0, null],
      specialTokensMask: [1, 0, 0, 0, 0, 0, 0, 0, 1],
      unknownTokens: [],
      words: undefined,
      truncated: 0,
      sampled: undefined,
    })
  })

  test('unknown pieces are told', async () => {
    const text = await tokenizeOne('你好，世界！')
    expect(text.tokens).toEqual(['[CLS]', '[UNK]', '[UNK]', '，', '世', '[UNK]', '！', '[SEP]'])
    expect(text.unknownTokens).toEqual([1, 2, 5])
    expect(sources(text)).toEqual([...'你好，世界！'])
  })

  test('offsets are UTF-16 code units: an emoji is two', async () => {
    const text = await tokenizeOne('a 😀 naïve 👩‍👩‍👧 bank')
    const at = text.tokens.indexOf('bank')
    expect(text.offsets[at]).toEqual(['a 😀 naïve 👩‍👩‍👧 '.length, text.text!.length])
    expect(sources(text)).toContain('naïve')
    expect(sources(text)).toContain('😀')
  })

  test('for any text, offsets go forwards, stay within it and never cut a character', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 40 }), async given => {
        const text = await tokenizeOne(given)
        let last = 0
        for (const [token, [start, end]] of text.offsets.entries()) {
          if (text.specialTokensMask[token] === 1) continue
          expect(start).toBeGreaterThanOrEqual(last)
          expect(end).toBeGreaterThanOrEqual(start)
          expect(end).toBeLessThanOrEqual(given.length)
          expect(given.slice(start, end).isWellFormed()).toBe(true)
          last = start
        }
        expect(text.ids.length).toBe(text.tokens.length)
        expect(await bert.countTokens(given)).toBe(text.ids.length)
      }),
      runs(50),
    )
  })

  test('a pair', async () => {
    const pair = await tokenizeOne({ text: 'How old?', pair: 'What age?' })
    expect(pair.tokens).toEqual(['[CLS]', 'how', 'old', '?', '[SEP]', 'what', 'age', '?', '[SEP]'])
    expect(pair.typeIds).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1])
    expect(pair.sequenceIds).toEqual([null, 0, 0, 0, null, 1, 1, 1, null])
    expect(sources(pair)).toEqual(['How', 'old', '?', 'What', 'age', '?'])
    expect(pair.pair).toBe('What age?')
  })

  test('words keep their boundaries, and offsets are within the word', async () => {
    const words = ['Hello', 'embeddings', '世界', '😀x']
    const text = await tokenizeOne({ words })
    expect(text.text).toBeUndefined()
    expect(new Set(text.wordIds)).toEqual(new Set([null, 0, 1, 2, 3]))
    for (const [token, word] of text.wordIds.entries()) {
      if (word === null) continue
      const [start, end] = text.offsets[token]!
      expect(end).toBeGreaterThan(start)
      expect(end).toBeLessThanOrEqual(words[word]!.length)
    }
    const pieces = text.wordIds.flatMap((word, token) => (word === 1 ? [words[1]!.slice(...text.offsets[token]!)] : []))
    expect(pieces.join('')).toBe('embeddings')
  })

  test('ids are used as they are, and named by the vocabulary', async () => {
    const text = await tokenizeOne({ ids: Uint16Array.of(7592, 100), typeIds: [0, 1] })
    expect(text.text).toBeUndefined()
    expect(text.tokens).toEqual(['hello', '[UNK]'])
    expect(text.ids).toEqual([7592, 100])
    expect(text.typeIds).toEqual([0, 1])
    expect(text.unknownTokens).toEqual([1])
    // Nobody knows what text they were.
    expect(text.offsets).toEqual([
      [0, 0],
      [0, 0],
    ])
    expect(text.wordIds).toEqual([null, null])
    expect(text.sequenceIds).toEqual([null, null])
  })

  test('special ids are special tokens, whoever put them there', async () => {
    expect((await tokenizeOne({ ids: [101, 7592, 102] })).specialTokensMask).toEqual([1, 0, 1])
  })

  test('without special tokens', async () => {
    const text = await tokenizeOne('Hello', { addSpecialTokens: false })
    expect(text.tokens).toEqual(['hello'])
    expect(await bert.countTokens('Hello', { addSpecialTokens: false })).toBe(1)
    const states = await bert.encode('Hello', { addSpecialTokens: false, layers: 0 })
    expect(states.texts[0]?.tokens).toEqual(['hello'])
  })

  test('an empty string is [CLS] [SEP]', async () => {
    const states = await bert.encode('')
    expect(states.texts[0]?.tokens).toEqual(['[CLS]', '[SEP]'])
    expect(states.data.every(Number.isFinite)).toBe(true)
  })

  test('NUL is cleaned away as Transformers does', async () => {
    const text = await tokenizeOne('ri\0ver \0')
    expect(text.tokens).toEqual(['[CLS]', 'river', '[SEP]'])
    expect(text.text).toBe('ri\0ver \0')
  })

  test('a megabyte without a space is one unknown word', async () => {
    const text = await tokenizeOne('a'.repeat(1 << 20))
    expect(text.tokens).toEqual(['[CLS]', '[UNK]', '[SEP]'])
    expect(text.offsets[1]).toEqual([0, 1 << 20])
  })
})

describe('what encode gives', () => {
  test('is what tokenize gives', async () => {
    const inputs = ['The river bank.', { text: 'a', pair: 'b' }, { words: ['x', 'y'] }, { ids: [101, 102] }]
    const { texts } = await bert.encode(inputs, { layers: 0 })
    const tokenized = await bert.tokenize(inputs)
    expect(texts.map(text => text.toJSON())).toEqual(tokenized.map(text => text.toJSON()))
    expect(await bert.countTokens(inputs)).toEqual(tokenized.map(text => text.ids.length))
  })

  test('shows itself in JSON and on the console, is made once and outlives its encoder', async () => {
    const encoder = await Encoder.fromPretrained()
    const [text] = await encoder.tokenize('Hello')
    await encoder.dispose()
    expect(text?.tokens).toBe(text?.tokens)
    expect(JSON.parse(JSON.stringify(text))).toMatchObject({
      tokens: ['[CLS]', 'hello', '[SEP]'],
      ids: [101, 7592, 102],
    })
    expect(inspect(text)).toMatch(/TokenizedText.*'hello'.*7592/s)
  })

  test('is spread and cloned as toJSON()', async () => {
    const text = await tokenizeOne('Hello')
    expect({ ...text }).toEqual({ text: 'Hello', pair: undefined })
    expect(structuredClone(text.toJSON())).toEqual(text.toJSON())
  })

  test('decode turns ids back into text', async () => {
    const { ids } = await tokenizeOne('Hello, embeddings!')
    expect(bert.decode(ids, { skipSpecialTokens: true })).toBe('hello, embeddings!')
    expect(bert.decode(Uint32Array.from(ids))).toMatch(/^\[CLS\] hello.*\[SEP\]$/)
  })
})

describe('tokenizer files', () => {
  test('vocab.txt and tokenizer.json mean the same', async () => {
    const fromVocabulary = copyTinyModel(temporaryFolder())
    writeVocabulary(fromVocabulary)
    const fromTokenizer = copyTinyModel(temporaryFolder())
    writeTokenizer(fromTokenizer)
    await using first = await Encoder.fromPretrained(fromVocabulary)
    await using second = await Encoder.fromPretrained(fromTokenizer)
    const inputs = ['The RIVER bank, playing 世界 😀 ébène?', { text: 'un', pair: 'unable' }, '', 'ß', '[MASK] bank']
    const texts = await first.tokenize(inputs)
    expect(texts[0]?.tokens.slice(0, 9)).toEqual(['[CLS]', 'the', 'river', 'bank', ',', 'play', '##ing', '世', '界'])
    expect(texts[0]?.ids[1]).toBe(TINY_VOCABULARY.indexOf('the'))
    expect((await second.tokenize(inputs)).map(text => text.toJSON())).toEqual(texts.map(text => text.toJSON()))
  })

  test('a folder without them takes ids, and has no names for them', async () => {
    await using tiny = await Encoder.fromPretrained(copyTinyModel(temporaryFolder()))
    const { texts } = await tiny.encode({ ids: [2, 7, 3] })
    expect(texts[0]).toMatchObject({
      tokens: [],
      offsets: [],
      ids: [2, 7, 3],
      wordIds: [null, null, null],
      unknownTokens: [],
    })
  })
})
