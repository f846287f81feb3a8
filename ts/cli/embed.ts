import type { Embeddings, EmbedOptions } from '../../index.d.ts'
import type { Encoder } from '../encoder.ts'
import type { Source } from '../stream.ts'
import type { EmbedCommand, EmbedFormat } from './arguments.ts'
import { jsonRow } from './json.ts'
import { readTexts, streamTexts } from './lines.ts'
import { npyArray } from './npy.ts'
import { bytesOf, type Chunk, writeAll } from './output.ts'
import { safetensorsFile } from './safetensors.ts'
import { type ModelSummary, Warnings, warnAbout, withTexts } from './texts.ts'

type Options = EmbedOptions<'float32'>

/** Formats that say at their beginning how much there is. */
const WHOLE: Record<Exclude<EmbedFormat, 'jsonl'>, (vectors: Embeddings, model: ModelSummary) => Iterable<Chunk>> = {
  npy: ({ data, dim }) => npyArray(data, [data.length / dim, dim]),
  safetensors,
}

export async function embedCommand(command: EmbedCommand): Promise<void> {
  const { layers, combine, pool, normalize, prompt, maxTokens, truncateDim, overflow, format, out } = command
  const options = { layers, combine, pool, normalize, prompt, maxTokens, truncateDim, overflow }
  if (format === 'jsonl') {
    await withTexts(command, streamTexts, (encoder, texts) => writeAll(jsonLines(encoder, texts, options), out))
    return
  }
  await withTexts(command, readTexts, async (encoder, texts, model) => {
    const vectors = await encoder.embed(texts, options)
    sayWhoChosePooling(vectors)
    warnAbout(vectors.texts)
    await writeAll(WHOLE[format](vectors, model), out)
  })
}

/** A line a text, {"text", "embedding": [dim]}, written as they are computed: no text waits for those after it. */
async function* jsonLines(encoder: Encoder, texts: Source<string>, options: Options): AsyncIterable<string> {
  const warnings = new Warnings()
  for await (const { index, input, vector, vectors } of encoder.stream(texts, { embed: options })) {
    if (index === 0) sayWhoChosePooling(vectors)
    warnings.see(vectors.texts[0]!, index)
    yield `{"text":${JSON.stringify(input)},"embedding":${jsonRow(vector)}}\n`
  }
  warnings.say()
}

function sayWhoChosePooling({ pooling }: Embeddings): void {
  if (pooling.source !== 'default') return
  process.stderr.write("The model's files do not say how to pool: this is the mean of the tokens. --pool chooses.\n")
}

/** embeddings f32 [text, dim]; its metadata say what made them. */
function safetensors({ data, dim, pooling, normalized }: Embeddings, model: ModelSummary) {
  const shape = [data.length / dim, dim]
  const metadata = {
    format: 'pt',
    model: model.name,
    device: model.device,
    dtype: model.dtype,
    pool: pooling.pool,
    normalized: String(normalized),
  }
  return safetensorsFile([{ name: 'embeddings', dtype: 'F32', shape, bytes: bytesOf(data) }], metadata)
}
