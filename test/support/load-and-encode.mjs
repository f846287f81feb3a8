// For each folder it is sent: loads the model, tokenizes and encodes, and answers 'ok' or the error's code and message.
import { BertLayersError, Encoder } from 'bert-layers'

const inputs = ['The river bank, playing 世界 😀?', { text: 'a', pair: 'b' }, { words: ['un', 'able'] }]

async function attempt(folder) {
  const encoder = await Encoder.fromPretrained(folder, { threads: 1 })
  try {
    const [text] = await encoder.tokenize(inputs)
    encoder.decode(text.ids)
    JSON.stringify(text)
    await encoder.encode(inputs)
  } finally {
    await encoder.dispose()
  }
  return 'ok'
}

process.on('message', folder =>
  attempt(folder)
    .catch(error => (error instanceof BertLayersError ? `${error.code} ${error.message}` : `other ${error.stack}`))
    .then(answer => process.send(answer)),
)
