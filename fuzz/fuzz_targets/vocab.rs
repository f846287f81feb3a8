#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::Model;
use libfuzzer_sys::fuzz_target;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::of("goldens-extra/text-vocab-uncased", &["vocab.txt"]));

fuzz_target!(|bytes: &[u8]| MODEL.try_with("vocab.txt", bytes));
