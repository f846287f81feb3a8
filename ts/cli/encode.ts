import type { HiddenStates } from '../../index.d.ts'
import { Encoder } from '../encoder.ts'
import { DEFAULT_MODEL } from '../packages.ts'
import { type EncodeCommand, type Format, UsageError } from './arguments.ts'
import { jsonChunks } from './json.ts'
import { readTexts } from './lines.ts'
import { npyChunks } from './npy.ts'
import { type Chunk, checkOut, writeAll } from './output.ts'
import { safetensorsChunks } from './safetensors.ts'
import { textChunks } from './text.ts'

/** The model behind the numbers, as outputs name it. */
export interface ModelSummary {
  name: string
  modelType: string
  numLayers: number
  hiddenSize: number
  device: string
  dtype: string
}

const FORMATTERS: Record<Format, (states: HiddenStates, model: ModelSummary) => Iterable<Chunk>> = {
  text: textChunks,
  json: jsonChunks,
  npy: npyChunks,
  safetensors: safetensorsChunks,
}

export async function encodeCommand(command: EncodeCommand): Promise<void> {
  const { model, layers, dtype, device, threads, format, out } = command
  if ((format === 'npy' || format === 'safetensors') && out === undefined && process.stdout.isTTY) {
    throw new UsageError(`${format} is not for a terminal: give --out FILE, or redirect the output`)
  }
  if (out !== undefined) await checkOut(out)
  const { texts, explain } = await readTexts(command.texts)
  const encoder = await Encoder.fromPretrained(model, { dtype, device, threads })
  try {
    const states = await encoder.encode(texts, { layers }).catch(explain)
    const { modelType, numLayers, hiddenSize } = encoder.config
    const name = model ?? DEFAULT_MODEL
    const summary = { name, modelType, numLayers, hiddenSize, device: encoder.device, dtype: encoder.dtype }
    await writeAll(FORMATTERS[format](states, summary), out)
  } finally {
    await encoder.dispose()
  }
}
