import { type ChildProcess, fork } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { program, ROOT, temporaryFolder } from './support/paths.ts'
import { ended } from './support/process.ts'
import { randomInteger, seededRandom } from './support/random.ts'
import { formatSafetensors, parseSafetensors } from './support/safetensors.ts'
import { copyTinyModel, TINY_VOCABULARY, writeTokenizer, writeVocabulary } from './support/tiny-model.ts'
import { count } from './support/verify.ts'

const MUTATIONS = count(40, 2000)
/** Far more than any load of the tiny model takes: whoever needs it hangs. */
const HANGS = 30_000
/** Codes that a damaged model may give. ERR_INTERNAL is not one of them: it would be a panic. */
const EXPECTED = [
  'ok',
  'ERR_MODEL_INVALID',
  'ERR_MODEL_UNSUPPORTED',
  'ERR_MODEL_NOT_FOUND',
  'ERR_INVALID_INPUT',
  'ERR_OUT_OF_MEMORY',
]

type Random = () => number

/** What is damaged, and how the file with the damage is written. */
const TARGETS: Record<string, { prepare: (folder: string) => void; mutate: (folder: string, random: Random) => void }> =
  {
    'config.json': { prepare: writeVocabulary, mutate: mutateJson('config.json') },
    'the header of model.safetensors': { prepare: writeVocabulary, mutate: mutateHeader },
    'vocab.txt': { prepare: writeVocabulary, mutate: mutateFile('vocab.txt') },
    'tokenizer.json': { prepare: writeTokenizer, mutate: mutateJson('tokenizer.json') },
    'pytorch_model.bin': { prepare: otherFormat('pytorch-zip'), mutate: mutateBinary('pytorch_model.bin', 9000) },
    'pytorch_model.bin of before 1.6': {
      prepare: otherFormat('pytorch-legacy'),
      mutate: mutateBinary('pytorch_model.bin', 7000),
    },
    'flax_model.msgpack': { prepare: otherFormat('flax'), mutate: mutateBinary('flax_model.msgpack') },
    'bert_model.ckpt.data': {
      prepare: otherFormat('tensorflow'),
      mutate: mutateBinary('bert_model.ckpt.data-00000-of-00001'),
    },
  }

describe.each(Object.entries(TARGETS))('random mutations of %s', (_, { prepare, mutate }) => {
  test('never crash or hang the process', { timeout: 1_800_000 }, async () => {
    const folder = temporaryFolder()
    const child = fork(program('load-and-encode.mjs'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const end = ended(child)
    const outcomes: Record<string, number> = {}
    for (let seed = 0; seed < MUTATIONS; seed++) {
      const model = join(folder, String(seed))
      mkdirSync(model)
      copyTinyModel(model)
      prepare(model)
      mutate(model, seededRandom(seed))
      const outcome = await answer(child, model)
      const [code = ''] = outcome.split(' ')
      expect(EXPECTED, `mutation ${seed}: ${outcome}`).toContain(code)
      outcomes[code] = (outcomes[code] ?? 0) + 1
      rmSync(model, { recursive: true })
    }
    // Otherwise the mutations were too tame, or too wild, to say anything.
    expect(outcomes.ERR_MODEL_INVALID).toBeGreaterThan(0)
    expect(outcomes.ok).toBeGreaterThan(0)
    child.disconnect()
    expect(await end).toEqual({ code: 0, signal: null })
  })
})

/** What the child says of a model: 'ok', or the code and message of its error. */
function answer(child: ChildProcess, model: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => {
      clearTimeout(timer)
      child.off('message', onMessage).off('exit', onExit)
      then()
    }
    const onMessage = (message: unknown) => settle(() => resolve(String(message)))
    const onExit = (code: number | null, signal: string | null) =>
      settle(() => reject(new Error(`the process ended with ${signal ?? code} on ${model}`)))
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      settle(() => reject(new Error(`no answer in ${HANGS} ms on ${model}`)))
    }, HANGS)
    child.once('message', onMessage).once('exit', onExit)
    child.send(model)
  })
}

/** Half of the time as text, half of the time as a value somewhere inside that becomes another. */
function mutateJson(name: string): (folder: string, random: Random) => void {
  return (folder, random) => {
    const path = join(folder, name)
    const bytes = readFileSync(path)
    writeFileSync(path, random() < 0.5 ? mutateBytes(bytes, random) : mutateValue(bytes.toString(), random))
  }
}

function mutateFile(name: string): (folder: string, random: Random) => void {
  return (folder, random) => {
    const path = join(folder, name)
    writeFileSync(path, mutateBytes(readFileSync(path), random))
  }
}

/** Mostly within the first bytes, where these say what follows; half of the time so that nothing moves. */
function mutateBinary(name: string, head = Number.POSITIVE_INFINITY): (folder: string, random: Random) => void {
  return (folder, random) => {
    const path = join(folder, name)
    const bytes = readFileSync(path)
    const [changed, rest] = [bytes.subarray(0, head), bytes.subarray(head)]
    if (random() < 0.5) writeFileSync(path, Buffer.concat([mutateBytes(changed, random), rest]))
    else {
      changed.writeUInt8(randomInteger(random, 256), randomInteger(random, changed.length))
      writeFileSync(path, bytes)
    }
  }
}

/** A folder with its weights in another format instead. */
function otherFormat(name: string): (folder: string) => void {
  return folder => {
    rmSync(join(folder, 'model.safetensors'))
    rmSync(join(folder, 'config.json'))
    cpSync(join(ROOT, 'test/fixtures/formats', name), folder, { recursive: true })
    writeVocabulary(folder, TINY_VOCABULARY.slice(0, 60)) // the model has 64 rows
  }
}

function mutateHeader(folder: string, random: Random): void {
  const path = join(folder, 'model.safetensors')
  const bytes = readFileSync(path)
  const { header, data } = parseSafetensors(bytes)
  const text = JSON.stringify(header)
  const choice = random()
  if (choice < 0.1) bytes.writeUInt8(randomInteger(random, 256), randomInteger(random, 8))
  const changed = choice < 0.5 ? mutateBytes(Buffer.from(text), random).toString('latin1') : mutateValue(text, random)
  writeFileSync(path, choice < 0.1 ? bytes : formatSafetensors(changed, data))
}

/** A few bytes flipped, taken out, doubled or cut off at the end. */
function mutateBytes(bytes: Buffer, random: Random): Buffer {
  let mutated = Buffer.from(bytes)
  for (let change = 0; change <= randomInteger(random, 3); change++) {
    const at = randomInteger(random, mutated.length)
    const length = 1 + randomInteger(random, 8)
    const kinds = [
      () => mutated.fill(randomInteger(random, 256), at, at + 1),
      () => Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + length)]),
      () => Buffer.concat([mutated.subarray(0, at + length), mutated.subarray(at)]),
      () => (random() < 0.2 ? mutated.subarray(0, at) : mutated),
    ]
    mutated = Buffer.from(kinds[randomInteger(random, kinds.length)]!())
  }
  return mutated
}

const STRANGE = [null, true, 0, -1, 1.5, 1e300, 2 ** 31, 2 ** 53, '', 'x', '\0', [], {}, [[]], 'bert', [0, 1e18]]

/** One value of the JSON, at any depth, becomes a strange one or goes. */
function mutateValue(text: string, random: Random): string {
  const root = { value: JSON.parse(text) as unknown }
  let parent: Record<string, unknown> = root
  let key = 'value'
  for (;;) {
    const inner = parent[key]
    const keys = typeof inner === 'object' && inner !== null ? Object.keys(inner) : []
    if (keys.length === 0 || (parent !== root && random() < 0.2)) break
    parent = inner as Record<string, unknown>
    key = keys[randomInteger(random, keys.length)]!
  }
  if (random() < 0.2) delete parent[key]
  else parent[key] = STRANGE[randomInteger(random, STRANGE.length)]
  return JSON.stringify(root.value) ?? ''
}
