#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::{Model, with_checksums};
use libfuzzer_sys::fuzz_target;

static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::of("formats/tensorflow", &["bert_model.ckpt.index", "vocab.txt"]));

fuzz_target!(|bytes: &[u8]| MODEL.try_with("bert_model.ckpt.index", &with_checksums(bytes)));
