import type { HiddenStates } from '../../index.d.ts'
import type { EncodeCommand, Format } from './arguments.ts'
import { jsonChunks } from './json.ts'
import { readTexts } from './lines.ts'
import { npyChunks } from './npy.ts'
import { type Chunk, writeAll } from './output.ts'
import { safetensorsChunks } from './safetensors.ts'
import { textChunks } from './text.ts'
import { type ModelSummary, warnAbout, withTexts } from './texts.ts'

const FORMATTERS: Record<Format, (states: HiddenStates, model: ModelSummary) => Iterable<Chunk>> = {
  text: textChunks,
  json: jsonChunks,
  npy: npyChunks,
  safetensors: safetensorsChunks,
}

export async function encodeCommand(command: EncodeCommand): Promise<void> {
  const { layers, overflow, format, out } = command
  await withTexts(command, readTexts, async (encoder, texts, summary) => {
    const states = await encoder.encode(texts, { layers, overflow })
    if (format !== 'text' || overflow !== 'error') warnAbout(states.texts)
    await writeAll(FORMATTERS[format](states, summary), out)
  })
}
