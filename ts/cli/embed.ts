import type { Embeddings } from '../../index.d.ts'
import type { EmbedCommand, EmbedFormat } from './arguments.ts'
import { jsonRow } from './json.ts'
import { npyArray } from './npy.ts'
import { bytesOf, type Chunk, writeAll } from './output.ts'
import { safetensorsFile } from './safetensors.ts'
import { type ModelSummary, warnAbout, withTexts } from './texts.ts'

const FORMATTERS: Record<EmbedFormat, (vectors: Embeddings, texts: string[], model: ModelSummary) => Iterable<Chunk>> =
  {
    jsonl: jsonLines,
    npy: ({ data, dim }) => npyArray(data, [data.length / dim, dim]),
    safetensors,
  }

export async function embedCommand(command: EmbedCommand): Promise<void> {
  const { layers, combine, pool, normalize, prompt, maxTokens, truncateDim, overflow, format, out } = command
  await withTexts(command, async (encoder, texts, model) => {
    const vectors = await encoder.embed(texts, {
      layers,
      combine,
      pool,
      normalize,
      prompt,
      maxTokens,
      truncateDim,
      overflow,
    })
    if (vectors.pooling.source === 'default') {
      process.stderr.write(
        "The model's files do not say how to pool: this is the mean of the tokens. --pool chooses.\n",
      )
    }
    warnAbout(vectors.texts)
    return () => writeAll(FORMATTERS[format](vectors, texts, model), out)
  })
}

/** A line a text: {"text", "embedding": [dim]}. */
function* jsonLines(vectors: Embeddings, texts: string[]): Iterable<string> {
  for (const [index, text] of texts.entries()) {
    yield `{"text":${JSON.stringify(text)},"embedding":${jsonRow(vectors.get(index))}}\n`
  }
}

/** embeddings f32 [text, dim]; its metadata say what made them. */
function safetensors({ data, dim, pooling, normalized }: Embeddings, _: string[], model: ModelSummary) {
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
