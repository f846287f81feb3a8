// Loads MODEL at REVISION, if one is given, and prints its fingerprint or the error's code.
import { Encoder } from 'bert-layers'

const [model, revision] = process.argv.slice(2)
const loading = Encoder.fromPretrained(model, { revision: revision || undefined })
console.log(await loading.then(({ fingerprint }) => fingerprint).catch(({ code }) => code))
