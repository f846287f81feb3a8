import { spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Encoder } from 'bert-layers'
import { describe, expect, test } from 'vitest'
import { CLI, goldenFolder, PACKAGE, temporaryFolder } from './support/paths.ts'
import { ended, run, runNode } from './support/process.ts'
import { floats, integers, parseSafetensors, shape } from './support/safetensors.ts'
import { copyTinyModel, writeTokenizer } from './support/tiny-model.ts'

interface JsonOutput {
  model: Record<string, unknown>
  layers: number[]
  texts: { text: string; tokens: string[]; ids: number[]; offsets: [number, number][] }[]
  hiddenStates: number[][][][]
}

/** Its output; what it says beside is nothing, or what is expected. */
async function encode(args: string[], input?: string | Uint8Array, says = /^$/): Promise<string> {
  const { code, stdout, stderr } = await runNode([CLI, 'encode', ...args], { input })
  expect(stderr).toMatch(says)
  expect(code).toBe(0)
  return stdout
}

describe('text', () => {
  test('shows the model, the tokens with the unknown ones marked, and every layer', async () => {
    const lines = (await encode(['你好，世界！'])).split('\n')
    expect(lines[0]).toMatch(/all-minilm-l6-v2: bert, 6 layers, hidden size 384, on cpu in float32/)
    expect(lines).toContain('text 0: 你好，世界！')
    expect(lines).toContain('  8 tokens: [CLS] [UNK](你) [UNK](好) ， 世 [UNK](界) ！ [SEP]')
    expect(
      lines.filter(line => /3 of 6 pieces are unknown.*for Chinese.*bert-base-multilingual-cased/.test(line)),
    ).toHaveLength(1)
    expect(lines.filter(line => line.startsWith('layer '))).toEqual([
      'layer 0, embedding output',
      ...[1, 2, 3, 4, 5, 6].map(layer => `layer ${layer}`),
    ])
    expect(lines.filter(line => line === '  text 0 [8, 384]')).toHaveLength(7)
  })

  test('the numbers are those of the encoder', async () => {
    const lines = (await encode(['Hello', '--layers', '-1'])).split('\n')
    await using bert = await Encoder.fromPretrained()
    const states = await bert.encode('Hello', { layers: -1 })
    const row = lines[lines.indexOf('  text 0 [3, 384]') + 2]!.trim().split(/\s+/)
    const expected = [0, 1, 2, 381, 382, 383].map(column => states.token(6, 0, 1)[column]!.toFixed(4))
    expect(row).toEqual([...expected.slice(0, 3), '…', ...expected.slice(3), 'hello'])
  })

  test('has no hint for a text that is known', async () => {
    expect(await encode(['Hello, world!'])).not.toMatch(/unknown/)
  })

  test('control characters do not reach the terminal', async () => {
    const output = await encode(['a\u001b[31m\u0007b', '--layers', '0'])
    expect(output).toContain('text 0: a\\x1b[31m\\x07b')
    expect(output.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  })
})

describe('json', () => {
  test('gives every number back exactly', async () => {
    const output = JSON.parse(
      await encode(['Hello', 'a river 😀', '--format', 'json', '--layers', '0,-1'], '', /^text 1: 1 of 3 pieces.*\n$/),
    ) as JsonOutput
    await using bert = await Encoder.fromPretrained()
    const states = await bert.encode(['Hello', 'a river 😀'], { layers: [0, -1] })
    expect(output.model).toMatchObject({
      modelType: 'bert',
      numLayers: 6,
      hiddenSize: 384,
      device: 'cpu',
      dtype: 'float32',
    })
    expect(output.layers).toEqual([0, 6])
    expect(output.texts).toEqual(JSON.parse(JSON.stringify(states.texts)))
    expect(output.hiddenStates.map(texts => texts.map(tokens => tokens.length))).toEqual([
      states.texts.map(text => text.ids.length),
      states.texts.map(text => text.ids.length),
    ])
    expect(Float32Array.from(output.hiddenStates.flat(3))).toEqual(states.data)
  })
})

describe('tokenize', () => {
  async function tokenize(args: string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await runNode([CLI, 'tokenize', ...args], { input })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return stdout
  }

  test('text shows a line a token, with unknown ones marked', async () => {
    const lines = (await tokenize(['你 embeds one\u0007', 'word '.repeat(600)])).split('\n')
    expect(lines[0]).toMatch(/all-minilm-l6-v2: bert, 30522 entries.*at most 512 tokens/)
    expect(lines.slice(1, 12)).toEqual([
      '',
      'text 0: 你 embeds one\\x07',
      '  7 tokens',
      '  token    id  offsets  word',
      '      0   101                 [CLS]  special',
      '      1   100      0-1     0  [UNK](你)  unknown',
      '      2  7861      2-4     1  em',
      '      3  8270      4-7     1  ##bed',
      '      4  2015      7-8     1  ##s',
      '      5  2028     9-12     2  one',
      '      6   102                 [SEP]  special',
    ])
    expect(lines).toContain('  602 tokens, 90 too many for this model')
  })

  test('json is what encoder.tokenize gives, a text a line of standard input', async () => {
    const output = JSON.parse(await tokenize(['--format', 'json'], 'Hello 😀\n\n'))
    expect(output.model).toEqual({
      name: '@bert-layers/all-minilm-l6-v2',
      modelType: 'bert',
      vocabSize: 30522,
      maxTokens: 512,
    })
    await using bert = await Encoder.fromPretrained()
    const texts = await bert.tokenize(['Hello 😀', ''])
    expect(output.texts).toEqual(JSON.parse(JSON.stringify(texts)))
    expect(output.texts[0]).toMatchObject({ tokens: ['[CLS]', 'hello', '[UNK]', '[SEP]'], unknownTokens: [2] })
  })

  test('goes to a file, and an error says its code', async () => {
    const file = join(temporaryFolder(), 'tokens.json')
    expect(await tokenize(['Hello', '--format', 'json', '--out', file])).toBe('')
    expect(JSON.parse(readFileSync(file, 'utf8')).texts[0].ids).toEqual([101, 7592, 102])
    const { code, stderr } = await runNode([CLI, 'tokenize', 'a', '--model', goldenFolder('bert')])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ERR_INVALID_INPUT: .*tokenizer/)
  })
})

describe('npy and safetensors', () => {
  test('npy is a NumPy array [layer, token, hidden]', async () => {
    const file = join(temporaryFolder(), 'states.npy')
    expect(await encode(['Hello', 'a river', '--format', 'npy', '--out', file])).toBe('')
    const bytes = readFileSync(file)
    expect(bytes.subarray(0, 8)).toEqual(Buffer.from('\x93NUMPY\x01\x00', 'latin1'))
    const start = 10 + bytes.readUInt16LE(8)
    expect(start % 64).toBe(0)
    expect(bytes.toString('latin1', 10, start)).toMatch(
      /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(7, 7, 384\), \} *\n$/,
    )
    await using bert = await Encoder.fromPretrained()
    const states = await bert.encode(['Hello', 'a river'])
    expect(new Float32Array(Uint8Array.from(bytes.subarray(start)).buffer)).toEqual(states.data)
  })

  test('safetensors has the states, the ids, the starts and the layers', async () => {
    const file = join(temporaryFolder(), 'states.safetensors')
    await encode(['Hello', 'a river', '--format', 'safetensors', '--layers=6,0', '--out', file])
    const found = parseSafetensors(readFileSync(file))
    await using bert = await Encoder.fromPretrained()
    const states = await bert.encode(['Hello', 'a river'], { layers: [6, 0] })
    expect(shape(found, 'hidden_states')).toEqual([2, 7, 384])
    expect(floats(found, 'hidden_states')).toEqual(states.data)
    expect(integers(found, 'input_ids')).toEqual(states.texts.flatMap(text => text.ids))
    expect(integers(found, 'starts')).toEqual([0, 3, 7])
    expect(integers(found, 'layers')).toEqual([6, 0])
  })

  test('go to a pipe as bytes', async () => {
    const child = spawn(process.execPath, [CLI, 'encode', 'Hello', '--format', 'npy'])
    const [end, output] = await Promise.all([ended(child), buffer(child.stdout)])
    expect(end).toEqual({ code: 0, signal: null })
    expect(output.length).toBe(128 + 7 * 3 * 384 * 4)
  })
})

describe('embed', () => {
  async function embed(args: string[], input?: string, says = /^$/): Promise<string> {
    const { code, stdout, stderr } = await runNode([CLI, 'embed', ...args], { input })
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(says) })
    return stdout
  }

  test('gives a line a text, as the model means it', async () => {
    const lines = (await embed([], 'Hello\na "river"\n')).trimEnd().split('\n')
    const texts = ['Hello', 'a "river"']
    await using bert = await Encoder.fromPretrained()
    const vectors = await bert.embed(texts)
    const expected = texts.map((text, i) => ({ text, embedding: Array.from(vectors.get(i)) }))
    const actual = lines.map(line => JSON.parse(line) as { text: string; embedding: number[] })
    expect(actual.map(({ text }) => text)).toEqual(texts)
    for (const [i, { embedding }] of actual.entries()) {
      expect(Float32Array.from(embedding)).toEqual(Float32Array.from(expected[i]!.embedding))
    }
  })

  test('takes layers, combine, pool and normalize; npy and safetensors have [text, dim]', async () => {
    const folder = temporaryFolder()
    const [npy, safetensors] = [join(folder, 'vectors.npy'), join(folder, 'vectors.safetensors')]
    const args = ['Hello', 'a river', '--layers', '1,-1', '--combine', 'concat', '--pool', 'max', '--normalize']
    await embed([...args, '--format', 'npy', '--out', npy])
    await embed([...args, '--format', 'safetensors', '--out', safetensors])
    await using bert = await Encoder.fromPretrained()
    const options = { layers: [1, -1], combine: 'concat', pool: 'max', normalize: true } as const
    const { data } = await bert.embed(['Hello', 'a river'], options)
    const bytes = readFileSync(npy)
    const start = 10 + bytes.readUInt16LE(8)
    expect(bytes.toString('latin1', 10, start)).toMatch(/'shape': \(2, 768\)/)
    expect(new Float32Array(Uint8Array.from(bytes.subarray(start)).buffer)).toEqual(data)
    const found = parseSafetensors(readFileSync(safetensors))
    expect(shape(found, 'embeddings')).toEqual([2, 768])
    expect(floats(found, 'embeddings')).toEqual(data)
  })

  test('writes a line as soon as it is computed, and says which line is wrong after the lines before it', async () => {
    const input = `${'some words in a line\n'.repeat(2000)}${'word '.repeat(600)}\n`
    const { code, stdout, stderr } = await runNode([CLI, 'embed'], { input })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^ERR_TOO_MANY_TOKENS: line 2001 /) })
    expect(stdout.trimEnd().split('\n')).toHaveLength(2000)
  })

  test('says when nobody chose the pooling', async () => {
    const folder = copyTinyModel(temporaryFolder())
    writeTokenizer(folder)
    const run = (...args: string[]) => runNode([CLI, 'embed', 'the river', '--model', folder, ...args])
    expect((await run()).stderr).toMatch(/mean of the tokens.*--pool/)
    expect((await run('--pool', 'cls')).stderr).toBe('')
  })

  test('of a text that is too long is a failure, unless told what to do', async () => {
    const input = `short\n${'word '.repeat(600)}\n`
    const { code, stderr } = await runNode([CLI, 'embed'], { input })
    const message = /^ERR_TOO_MANY_TOKENS: line 2.*602.*--max-tokens.*--overflow window or truncate/
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(message) })
    const says = { truncate: /^text 1: 346 tokens too many were cut off \(--overflow\)\n$/, window: /^$/ }
    for (const overflow of ['truncate', 'window'] as const) {
      expect((await embed(['--overflow', overflow], input, says[overflow])).trimEnd().split('\n')).toHaveLength(2)
    }
  })

  test('says which texts the model hardly knows', async () => {
    await embed(
      ['Hello', '你好，世界！', '你好'],
      '',
      /^text 1: 3 of 6 pieces.*BAAI\/bge-small-zh.*; the like goes for 1 more\n$/,
    )
  })

  test('--no-normalize leaves vectors as they are', async () => {
    const { embedding } = JSON.parse(await embed(['Hello', '--no-normalize'])) as { embedding: number[] }
    await using bert = await Encoder.fromPretrained()
    expect(Float32Array.from(embedding)).toEqual((await bert.embed('Hello', { normalize: false })).get(0))
    const { code, stderr } = await runNode([CLI, 'embed', 'Hello', '--normalize', '--no-normalize'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('contradict') })
  })
})

test.skipIf(!existsSync('/dev/full'))('output that cannot be written is a failure that says why', async () => {
  for (const args of ['embed a', 'encode a --format npy', 'tokenize a', 'inspect', 'doctor', '--help']) {
    const { code, stderr } = await run('sh', ['-c', `"$0" "$1" ${args} > /dev/full`, process.execPath, CLI])
    expect({ args, code, stderr }).toEqual({
      args,
      code: 1,
      stderr: expect.stringMatching(/^ENOSPC: no space left on device/),
    })
  }
})

describe('--out', () => {
  test('replaces a file, through a link too, and leaves nothing else', async () => {
    const folder = temporaryFolder()
    const file = join(folder, 'states.txt')
    const link = join(folder, 'link.txt')
    writeFileSync(file, 'old')
    symlinkSync('states.txt', link)
    await encode(['Hello', '--layers', '0', '--out', link])
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(readFileSync(file, 'utf8')).toBe(await encode(['Hello', '--layers', '0']))
    expect(readdirSync(folder).sort()).toEqual(['link.txt', 'states.txt'])
  })

  test('has the file once it is complete: a failure leaves neither it nor a part of it', async () => {
    const folder = temporaryFolder()
    const file = join(folder, 'states.json')
    const child = spawn(process.execPath, [CLI, 'encode', '--format', 'json', '--out', file])
    child.stdin.end('word '.repeat(100).concat('\n').repeat(10))
    // Once it writes, a folder takes the name: the last step fails.
    while (readdirSync(folder).length === 0 && child.exitCode === null) await sleep(1)
    mkdirSync(join(file, 'in the way'), { recursive: true })
    const [end, errors] = await Promise.all([ended(child), text(child.stderr)])
    expect(end).toEqual({ code: 1, signal: null })
    expect(errors).toMatch(/^E/)
    expect(readdirSync(folder)).toEqual(['states.json'])
  })

  test.skipIf(process.platform === 'win32')('interrupted, leaves nothing', async () => {
    const folder = temporaryFolder()
    const file = join(folder, 'states.json')
    const child = spawn(process.execPath, [CLI, 'encode', '--format', 'json', '--out', file])
    child.stdin.end('word '.repeat(100).concat('\n').repeat(10))
    while (readdirSync(folder).length === 0 && child.exitCode === null) await sleep(1)
    child.kill('SIGTERM')
    expect(await ended(child)).toEqual({ code: null, signal: 'SIGTERM' })
    expect(readdirSync(folder)).toEqual([])
  })

  test('says at once which folder is not there, and that ~ is no folder', async () => {
    for (const args of [
      ['encode', 'Hello'],
      ['embed', 'Hello'],
      ['tokenize', 'Hello'],
    ]) {
      const nowhere = await runNode([CLI, ...args, '--out', '/no/such/x'])
      expect({ code: nowhere.code, stdout: nowhere.stdout }).toEqual({ code: 1, stdout: '' })
      expect(nowhere.stderr).toMatch(/--out \/no\/such\/x: there is no folder \/no\/such/)
      for (const path of ['--out=~/x', '--cache-dir=~/x']) {
        const { code, stderr } = await runNode([CLI, ...args, path])
        expect(code).toBe(2)
        expect(stderr).toMatch(/~\/x: the shell did not expand ~/)
      }
    }
  })

  test.skipIf(process.platform === 'win32')('may be a device, which stays one', async () => {
    await encode(['Hello', '--layers', '0', '--out', '/dev/null'])
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true)
  })
})

describe('standard input', () => {
  test('is a text a line, an empty line an empty text', async () => {
    const output = JSON.parse(
      await encode(['--format', 'json', '--layers', '0'], 'Hello\r\n\n你好\n', /^text 2: 2 of 2 pieces.*\n$/),
    ) as JsonOutput
    expect(output.texts.map(({ text }) => text)).toEqual(['Hello', '', '你好'])
  })

  test('needs no newline at its end', async () => {
    const output = JSON.parse(await encode(['--format', 'json', '--layers', '0'], 'Hello\nworld')) as JsonOutput
    expect(output.texts.map(({ text }) => text)).toEqual(['Hello', 'world'])
  })

  test('that is not UTF-8 is a failure', async () => {
    const { code, stdout, stderr } = await runNode([CLI, 'encode'], { input: Uint8Array.of(0x61, 0xff, 0x0a) })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^ERR_INVALID_INPUT: .*UTF-8/)
  })

  test('of embed is read as it comes: a line has its vector before the next is there', async () => {
    const child = spawn(process.execPath, [CLI, 'embed'])
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    for (const given of ['Hello', '', 'Grüße']) {
      // In halves, the second of which begins within a character of the last text.
      const bytes = Buffer.from(`${given}\r\n`)
      child.stdin.write(bytes.subarray(0, 3))
      await sleep(20)
      child.stdin.write(bytes.subarray(3))
      expect(JSON.parse((await lines.next()).value)).toMatchObject({ text: given })
    }
    child.stdin.end('no newline')
    expect(JSON.parse((await lines.next()).value)).toMatchObject({ text: 'no newline' })
    expect(await ended(child)).toEqual({ code: 0, signal: null })
  })

  test.each([
    ['that is not UTF-8', Buffer.of(0x62, 0xc3, 0x0a), /^ERR_INVALID_INPUT: line 3 of standard input is not UTF-8/],
    ['with a text too long', 'word '.repeat(600), /^ERR_TOO_MANY_TOKENS: line 3 of the input \(text 2\) has 602/],
  ])('of embed %s fails after what came before, and does not wait for more', async (_, bad, error) => {
    const child = spawn(process.execPath, [CLI, 'embed'])
    child.stdin.on('error', () => {}) // EPIPE: nobody reads it any more
    child.stdin.write(Buffer.concat([Buffer.from('Hello\nworld\n'), Buffer.from(bad), Buffer.from('\nmore\n')]))
    const [end, out, errors] = await Promise.all([ended(child), text(child.stdout), text(child.stderr)])
    expect(end).toEqual({ code: 1, signal: null })
    expect(out.match(/"text":"\w*"/g)).toEqual(['"text":"Hello"', '"text":"world"'])
    expect(errors).toMatch(error)
  })

  test('does not keep a command waiting whose model is not there', async () => {
    const child = spawn(process.execPath, [CLI, 'embed', '--model', '/no/such'])
    child.stdin.on('error', () => {})
    child.stdin.write('Hello\n')
    const [end, errors] = await Promise.all([ended(child), text(child.stderr)])
    expect(end).toEqual({ code: 1, signal: null })
    expect(errors).toMatch(/^ERR_MODEL_NOT_FOUND/)
  })

  test('an error about a text says its line', async () => {
    const { code, stderr } = await runNode([CLI, 'encode'], { input: `short\n${'word '.repeat(600)}\n` })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ERR_TOO_MANY_TOKENS: line 2 of the input \(text 1\) has 602 tokens/)
  })

  test('that is empty is wrong usage', async () => {
    const { code, stderr } = await runNode([CLI, 'encode'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/no text/)
  })
})

describe('exit codes', () => {
  test.each([
    [[], /command is missing/],
    [['embedd', 'a'], /'embedd'.*encode, embed, tokenize/],
    [['encode', 'a', '--pool', 'mean'], /--pool is of embed/],
    [['encode', 'a', '--overflow', 'cut'], /--overflow.*window.*'cut'/],
    [['embed', 'a', '--pool', 'avg'], /--pool.*weightedmean.*"avg"/],
    [['embed', 'a', '--combine', 'avg'], /--combine.*concat.*'avg'/],
    [['embed', 'a', '--format', 'json'], /--format.*jsonl.*'json'/],
    [['embed', 'a', '--jsonl'], /--jsonl\..*--format jsonl\?/],
    [['tokenize', 'a', '--layers', '1'], /tokenize has no option --layers.*--model/],
    [['tokenize', 'a', '--format', 'npy'], /--format.*text, json.*'npy'/],
    [['encode', 'a', '--layer', '1'], /--layer\b.*--layers/],
    [['encode', 'a', '--layers', '1,x'], /--layers.*'x'/],
    [['encode', 'a', '--layers', ''], /--layers/],
    [['encode', 'a', '--format', 'csv'], /--format.*safetensors.*'csv'/],
    [['encode', 'a', '--dtype', 'float64'], /--dtype.*"float64"/],
    [['encode', 'a', '--device', 'gpu'], /--device.*"gpu"/],
    [['encode', 'a', '--threads', 'many'], /--threads.*"many"/],
    [['encode', 'a', '--threads', '0'], /--threads.*0/],
    [['encode', 'a', '--out'], /--out/],
    [['encode', 'a', '--out', ''], /--out.*''/],
    [['encode', 'a', '--out', 'folder/'], /--out.*'folder\/'/],
    [['encode', 'a', '--model', 'x', '--model', 'y'], /--model.*more than once/],
    [['encode', 'a', '-m', 'x'], /-m\..*--model or --max-tokens\?/],
    [['encode', 'a', '-d', 'cpu'], /-d\..*--dtype or --device\?/],
    [['encode', 'a', '--json'], /--json\..*--format json\?/],
    [['encode', 'a', '--output', 'x'], /--output\..*--out\?/],
    [['encode', '-- a'], /there is no option -- a/],
  ])('2 for wrong usage: %j', async (args, message) => {
    const { code, stdout, stderr } = await runNode([CLI, ...args])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/bert-layers --help/)
  })

  test.each([
    [['--model', './no/such/folder'], /^ERR_MODEL_NOT_FOUND: .*no\/such\/folder/],
    [['--layers', '7'], /^ERR_INVALID_INPUT: .*7/],
    [['--model', goldenFolder('bert')], /^ERR_INVALID_INPUT: .*tokenizer/],
    [['--out', './no/such/folder/file'], /^ENOENT: .*no\/such\/folder\/file/],
    [['--out', '.'], /^EISDIR: .*folder/],
    // Before the model is looked for.
    [['--out', './no/such/folder/file', '--model', './no/such/folder'], /^ENOENT/],
  ])('1 for a failure, which begins with its code: %j', async (args, message) => {
    const { code, stdout, stderr } = await runNode([CLI, 'encode', 'a', ...args])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr.trim().split('\n').length).toBeLessThan(12)
  })

  test('0 for help and version', async () => {
    for (const args of [['--help'], ['-h'], ['help'], ['help', 'encode'], ['encode', '--help']]) {
      const help = await runNode([CLI, ...args])
      expect(help).toMatchObject({ code: 0, stderr: '' })
      expect(help.stdout).toMatch(/bert-layers encode \[TEXT\.\.\.\]/)
    }
    const nonsense = await runNode([CLI, 'help', 'nonsense'])
    expect(nonsense).toMatchObject({ code: 2, stderr: expect.stringContaining("no command 'nonsense'") })
    const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { version: string }
    for (const arg of ['--version', '-v', '-V']) {
      expect(await runNode([CLI, arg])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
    }
  })

  test('a text that begins with a dash goes behind --', async () => {
    const output = JSON.parse(await encode(['--format', 'json', '--layers', '0', '--', '--layers', '-1'])) as JsonOutput
    expect(output.texts.map(({ text }) => text)).toEqual(['--layers', '-1'])
  })

  test('a reader that goes away early is no failure', async () => {
    const child = spawn(process.execPath, [CLI, 'encode', 'a river bank '.repeat(100), '--format', 'json'])
    child.stdout.once('data', () => child.stdout.destroy())
    const [end, errors] = await Promise.all([ended(child), text(child.stderr)])
    expect({ ...end, errors }).toEqual({ code: 0, signal: null, errors: '' })
  })
})

test('embed takes a prompt, a length and a dimension', async () => {
  const { code, stdout } = await runNode([
    CLI,
    'embed',
    'b c d e',
    '--prompt',
    'a ',
    '--max-tokens',
    '4',
    '--truncate-dim',
    '5',
    '--overflow',
    'truncate',
  ])
  expect(code).toBe(0)
  await using bert = await Encoder.fromPretrained()
  const options = { prompt: 'a ', maxTokens: 4, truncateDim: 5, overflow: 'truncate' } as const
  const { embedding } = JSON.parse(stdout) as { embedding: number[] }
  expect(Float32Array.from(embedding)).toEqual((await bert.embed('b c d e', options)).get(0))
})

test('an option of the library only is not another one of the commands', async () => {
  const { code, stderr } = await runNode([CLI, 'embed', 'a', '--precision', 'int8'])
  expect(code).toBe(2)
  expect(stderr).toMatch(/no option --precision\. It is an option of the library/)
  expect(stderr).not.toMatch(/--revision/)
})

test('convert into a folder with files names --force', async () => {
  const target = temporaryFolder()
  writeFileSync(join(target, 'config.json'), '{}')
  const { code, stderr } = await runNode([CLI, 'convert', goldenFolder('bert'), target])
  expect(code).toBe(1)
  expect(stderr).toMatch(/^ERR_INVALID_INPUT: .*or --force to replace/)
})
