#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::Model;
use libfuzzer_sys::fuzz_target;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::of("formats/flax", &["flax_model.msgpack"]));

fuzz_target!(|bytes: &[u8]| MODEL.try_weights("flax_model.msgpack", bytes));
