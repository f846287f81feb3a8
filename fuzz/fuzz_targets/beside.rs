#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::Model;
use libfuzzer_sys::fuzz_target;

/// Small JSON files beside a model, each with a fixture that has it, or could.
const FILES: [(&str, &str); 10] = [
    ("goldens-extra/text-vocab-uncased", "modules.json"),
    ("goldens-extra/text-vocab-uncased", "1_Pooling/config.json"),
    ("goldens-extra/text-vocab-uncased", "sentence_bert_config.json"),
    ("goldens-extra/text-vocab-uncased", "config_sentence_transformers.json"),
    ("goldens-extra/text-vocab-added-tokens", "tokenizer_config.json"),
    ("goldens-extra/text-vocab-cased", "special_tokens_map.json"),
    ("goldens-extra/text-byte-level", "tokenizer_config.json"),
    ("goldens-extra/text-tokenizer-json", "tokenizer_config.json"),
    ("goldens-extra/weights-sharded", "model.safetensors.index.json"),
    ("formats/pytorch-sharded", "pytorch_model.bin.index.json"),
];

static MODELS: LazyLock<[Model; FILES.len()]> = LazyLock::new(|| FILES.map(|(fixture, _)| Model::of(fixture, &[])));

// The first byte, a digit in the seeds, says which file the rest is.
fuzz_target!(|bytes: &[u8]| {
    let Some((&which, rest)) = bytes.split_first() else { return };
    let which = usize::from(which.wrapping_sub(b'0')) % FILES.len();
    MODELS[which].try_with(FILES[which].1, rest);
});
