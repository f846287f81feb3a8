// Embeds TEXTS × 128 tokens from one layer, or the average of all, and prints the process's peak of resident memory in MB.
//     node embed-peak.mjs last|all [MODEL] [TEXTS]
import { Encoder } from 'bert-layers'

const [layers, model, texts = '128'] = process.argv.slice(2)
const bert = await Encoder.fromPretrained(model)
const inputs = Array.from({ length: Number(texts) }, (_, text) => ({
  ids: Uint32Array.from({ length: 128 }, (_, token) => 1000 + ((31 * token + text) % 20_000)),
}))
await bert.embed(inputs, { layers: layers === 'all' ? 'all' : -1, pool: 'mean' })
await bert.dispose()
console.log(process.resourceUsage().maxRSS / 1000)
