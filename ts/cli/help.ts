export const HELP = `bert-layers: the hidden states of every layer of a BERT encoder, and vectors made of them

Usage:
  bert-layers encode [TEXT...] [options]    the hidden states
  bert-layers embed [TEXT...] [options]     one vector a text
  bert-layers tokenize [TEXT...] [--model M] [--format text|json] [--out FILE]
                                            tokens with ids, offsets (UTF-16) and words; unknown ones are marked
  bert-layers inspect [MODEL] [--format text|json]
                                            what a name, a folder or a file of weights is, without loading it: family, sizes,
                                            parameters, formats of the weights, tokenizer, memory, what a load would download
  bert-layers convert MODEL FOLDER [--dtype float32|float16|bfloat16] [--force]
                                            the model in Hugging Face layout with safetensors, from any format;
                                            --force replaces files
  bert-layers doctor [--json]               platform, instruction set, devices, packages, cache: what is here, which binary would be
                                            loaded, what was tried; exit status 1 where none loads
  bert-layers help

Texts are the arguments or, without any, the lines of standard input; an empty line is an empty text: its special tokens alone.

Options:
  --model M        a folder in Hugging Face layout or a name on the Hugging Face hub, which is downloaded once;
                   without it: all-MiniLM-L6-v2, which comes with the package
  --revision R     branch, tag or commit of a model on the hub; main by default
  --cache-dir DIR  the Hugging Face cache to use; by default as HF_HUB_CACHE and HF_HOME say
  --local-files-only   download nothing
  --layers L       all (encode's default), or numbers such as 0,6,-1: 0 is the embedding output, -1 (embed's default) the last layer
  --overflow O     for a text with more tokens than the model takes: error (the default), truncate, window (encodes all of it)
  --dtype D        float32 (the default), bfloat16, int8 (CPU), float16 (GPU)
  --last-layer W   of a model with a norm after its last block (ModernBERT): after-norm (the default), before-norm
  --device D       auto (the default), cpu, cuda, cuda:N, metal
  --threads N      threads for the arithmetic; without it: one a core
  --format F       of encode:
                   text (the default)  an overview to read: tokens, and each layer's numbers abbreviated
                   json                {model, layers, texts, hiddenStates: [layer][text][token][hidden]}
                   npy                 NumPy array [layer, token of all texts, hidden], float32
                   safetensors         hidden_states [layer, token of all texts, hidden], input_ids, starts, layers
                   of embed:
                   jsonl (the default) a line a text, as they are computed: {text, embedding: [dim]}
                   npy                 NumPy array [text, dim], float32
                   safetensors         embeddings [text, dim]
  --combine C      embed: how layers become one: mean (the default), sum, max, concat
  --pool P         embed: how tokens become one: mean, cls, max, last, weightedmean, pooler; without it: as the model's files say
  --normalize      embed: makes vectors unit length, --no-normalize leaves them as they are; without both: as the model's files say
  --prompt P       embed: a text that is put before each; without it: as the model's files say; '' for none
  --max-tokens N   embed: the most tokens of a text; without it: as the model's files say
  --truncate-dim N embed: only the first N numbers of a vector
  --out FILE       write there, not to standard output; FILE appears when it is complete
  -h, --help       this text
  -v, --version    the version; -V too

These are a part of what the library can do: index.d.ts has all of its options.

Examples:
  bert-layers encode '你好，世界！'
  bert-layers encode 'Hello, world!' --layers -1 --format json
  bert-layers encode --model bert-base-uncased --format npy --out states.npy < texts.txt
  bert-layers embed --layers 1,12 --model bert-base-uncased < texts.txt > vectors.jsonl
  bert-layers tokenize 'Which of these words are known?'
  bert-layers convert ./uncased_L-12_H-768_A-12 ./bert-base-uncased
  bert-layers encode -- '- a text that begins with a dash'

Environment, as huggingface_hub has it: HF_HUB_CACHE, HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE,
HF_HUB_DISABLE_PROGRESS_BARS; HTTPS_PROXY, NO_PROXY.

Exit status: 0; 1 for a failure, whose code begins the message; 2 for wrong usage.
`
