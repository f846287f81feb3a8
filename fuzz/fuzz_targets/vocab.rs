#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::{Model, named};
use libfuzzer_sys::fuzz_target;

// MPNet's special tokens are RoBERTa's.
static MODELS: LazyLock<[(&str, Model); 2]> = LazyLock::new(|| {
    [
        ("<s>", Model::of("goldens-families/text-mpnet", &["vocab.txt"])),
        ("[CLS]", Model::of("goldens-extra/text-vocab-uncased", &["vocab.txt"])),
    ]
});

fuzz_target!(|bytes: &[u8]| named(bytes, &*MODELS).try_with("vocab.txt", bytes));
