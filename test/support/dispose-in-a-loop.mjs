// Loads a model with a byte-level BPE tokenizer COUNT times, tokenizes 10,000 texts of a word each with it, and disposes
// of it; prints by how many MB resident memory grew after the second time.
import { Encoder } from 'bert-layers'
import { resident } from './resident.mjs'

const [model, count] = [process.argv[2], Number(process.argv[3])]
const letters = number => [...`${number}`].map(digit => 'abcdefghij'[digit]).join('')
const words = Array.from({ length: 10_000 }, (_, word) => letters(word).padStart(60, 'z'))

let before = 0
for (let time = 0; time < count; time++) {
  const encoder = await Encoder.fromPretrained(model)
  await encoder.tokenize(words)
  await encoder.dispose()
  if (time === 1) before = await resident()
}
console.log(JSON.stringify({ grown: (await resident()) - before }))
