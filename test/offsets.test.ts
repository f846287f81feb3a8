import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { Encoder, type TokenizedText } from 'bert-layers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectFailure } from './support/errors.ts'
import { ROOT } from './support/paths.ts'
import { count, runs } from './support/verify.ts'

/** What the tokenizers library gave for a generated text; offsets count code points. See scripts/make_offsets_goldens.py. */
type Golden = [text: string, ids: number[], offsets: number[], wordIds: (number | null)[]]

const COUNT = count(2_000, 10_000)
let bert: Encoder
let goldens: Golden[]
let texts: TokenizedText[]

beforeAll(async () => {
  const lines = gunzipSync(readFileSync(join(ROOT, 'test/fixtures/offsets.jsonl.gz')))
    .toString()
    .trim()
    .split('\n')
  goldens = lines.slice(0, COUNT).map(line => JSON.parse(line) as Golden)
  bert = await Encoder.fromPretrained()
  texts = await bert.tokenize(goldens.map(([text]) => text))
})
afterAll(() => bert.dispose())

/**
 * What BERT's uncased tokenizer makes of a piece of text before it looks for it in the vocabulary: no control characters, no
 * accents, small letters, which Google's code of 2018 does one character at a time.
 */
function normalized(piece: string): string {
  const cleaned = piece.replaceAll(/[\0\ufffd]|[\p{Cc}\p{Cf}\p{Co}](?<![\t\n\r])/gu, '')
  const bare = cleaned.normalize('NFD').replaceAll(/\p{Mn}/gu, '')
  return [...bare].map(character => character.toLowerCase()).join('')
}

function isCharacter(text: string): boolean {
  return [...text].length === 1
}

describe(`${COUNT} generated texts`, () => {
  test('are as many, and of every kind', () => {
    expect(texts.length).toBe(COUNT)
    const all = goldens.map(([text]) => text).join('\n')
    for (const kind of [/\p{Extended_Pictographic}\u200d/u, /\p{Mn}/u, /\p{Script=Han}/u, /\p{Script=Hebrew}/u]) {
      expect(all).toMatch(kind)
    }
    for (const kind of [/[\uff01-\uff5e]/, /\p{Cc}/u, /[\ud840-\ud869][\udc00-\udfff]/, /\p{Script=Arabic}/u]) {
      expect(all).toMatch(kind)
    }
  })

  test('have the ids, words and offsets of the tokenizers library', () => {
    for (const [index, [text, ids, codePoints, wordIds]] of goldens.entries()) {
      const ours = texts[index]!
      expect(ours.ids, text).toEqual(ids)
      expect(ours.wordIds, text).toEqual(wordIds)
      const units = [0]
      for (const character of text) units.push(units.at(-1)! + character.length)
      expect(ours.offsets.flat(), text).toEqual(codePoints.map(at => units[at]))
    }
  })

  test('offsets cut what each token came from', () => {
    for (const { text = '', tokens, offsets, sequenceIds, unknownTokens } of texts) {
      const unknown = new Set(unknownTokens)
      for (const [at, [start, end]] of offsets.entries()) {
        if (sequenceIds[at] === null) continue // [CLS] and [SEP], which are from nowhere
        const source = text.slice(start, end)
        expect(source.isWellFormed(), text).toBe(true)
        expect(source, text).not.toBe('')
        // A special token that stands in the text is itself.
        if (unknown.has(at) || source === tokens[at]) continue
        const piece = tokens[at]!.replace(/^##(?=.)/, '')
        // A Korean syllable is taken apart into letters, which are tokens of one character.
        if (isCharacter(source)) expect(normalized(source), text).toContain(piece)
        else expect(normalized(source), text).toBe(piece)
      }
    }
  })

  test('words are tiled by their tokens, and nothing that counts is left out', () => {
    for (const { text = '', tokens, offsets, wordIds, unknownTokens } of texts) {
      const unknown = new Set(unknownTokens)
      const words: { start: number; end: number; pieces: string[] }[] = []
      let last = 0
      for (const [at, [start, end]] of offsets.entries()) {
        const id = wordIds[at]!
        if (id === null) continue
        // Words count from 0 without a gap, and their tokens follow each other.
        expect([words.length - 1, words.length], text).toContain(id)
        const begins = id === words.length
        if (begins) words.push({ start, end, pieces: [] })
        const word = words[id]!
        if (start < last) expect([begins, isCharacter(text.slice(start, last))], text).toEqual([false, true])
        // Within a word, only what the tokenizer takes away may lie between two tokens; between words, also white space.
        const between = normalized(text.slice(last, start))
        expect(begins ? between.trim() : between, text).toBe('')
        word.end = last = Math.max(last, end)
        word.pieces.push(unknown.has(at) ? normalized(text.slice(start, end)) : tokens[at]!.replace(/^##(?=.)/, ''))
      }
      expect(normalized(text.slice(last)).trim(), text).toBe('')
      for (const { start, end, pieces } of words) {
        const source = text.slice(start, end)
        expect([source, normalized(source)], text).toContain(pieces.join(''))
      }
    }
  })
})

describe('lone surrogates', () => {
  test('are refused wherever they stand, and pairs are not', async () => {
    const surrogate = fc.integer({ min: 0xd800, max: 0xdfff }).map(unit => String.fromCharCode(unit))
    const whole = fc.string({ unit: 'binary', maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(whole, surrogate, whole, async (before, lone, after) => {
        const text = before + lone + after
        fc.pre(!text.isWellFormed())
        await expectFailure(() => bert.tokenize(text), 'ERR_INVALID_INPUT', /lone surrogate.*position \d+/)
        await expectFailure(() => bert.encode(['fine', text]), 'ERR_INVALID_INPUT', /^text 1 has a lone surrogate/)
        const repaired = (await bert.tokenize(text.toWellFormed()))[0]!
        expect(repaired.text).toBe(text.toWellFormed())
      }),
      runs(100),
    )
  })
})
