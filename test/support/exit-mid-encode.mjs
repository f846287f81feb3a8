// Encodes, and calls process.exit(7) in the middle of it, after DELAY ms.
import { Encoder } from 'bert-layers'

const encoder = await Encoder.fromPretrained()
const inputs = Array.from({ length: 64 }, () => ({ ids: new Uint32Array(256).fill(2000) }))
encoder.encode(inputs).then(() => process.exit(1))
setTimeout(() => process.exit(7), Number(process.argv[2]))
