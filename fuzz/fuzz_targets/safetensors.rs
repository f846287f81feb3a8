#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::{Model, safetensors};
use libfuzzer_sys::fuzz_target;

const SOUND: &[u8] = include_bytes!("../../test/fixtures/goldens-extra/weights-f16/model.safetensors");

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::of("goldens-extra/weights-f16", &["model.safetensors"]));

// A header where the input begins as JSON does, else a file.
fuzz_target!(|bytes: &[u8]| {
    if bytes.first() == Some(&b'{') {
        MODEL.try_weights("model.safetensors", &safetensors::file(bytes, SOUND));
    } else {
        MODEL.try_weights("model.safetensors", bytes);
    }
});
