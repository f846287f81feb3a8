export const HELP = `bert-layers: the hidden states of every layer of a BERT encoder

Usage:
  bert-layers encode [TEXT...] [options]
  bert-layers tokenize [TEXT...] [--model M] [--format text|json] [--out FILE]
                   tokens with ids, offsets (UTF-16) and words; unknown ones are marked
  bert-layers help

Texts are the arguments or, without any, the lines of standard input.

Options of encode:
  --model M        a folder in Hugging Face layout or a name; without it: all-MiniLM-L6-v2, which comes with the package
  --layers L       all (the default), or numbers such as 0,6,-1: 0 is the embedding output, -1 the last layer
  --dtype D        float32 (the default), bfloat16, int8 (CPU), float16 (GPU)
  --device D       auto (the default), cpu, cuda, cuda:N, metal
  --threads N      threads for the arithmetic; without it: one a core
  --format F       text (the default)  an overview to read: tokens, and each layer's numbers abbreviated
                   json                {model, layers, texts, hiddenStates: [layer][text][token][hidden]}
                   npy                 NumPy array [layer, token of all texts, hidden], float32
                   safetensors         hidden_states [layer, token of all texts, hidden], input_ids, starts, layers
  --out FILE       write there, not to standard output; FILE appears when it is complete
  -h, --help       this text
  -v, --version    the version; -V too

Examples:
  bert-layers encode '你好，世界！'
  bert-layers encode 'Hello, world!' --layers -1 --format json
  bert-layers encode --model bert-base-uncased --format npy --out states.npy < texts.txt
  bert-layers tokenize 'Which of these words are known?'
  bert-layers encode -- '- a text that begins with a dash'

Exit status: 0; 1 for a failure, whose code begins the message; 2 for wrong usage.
`
