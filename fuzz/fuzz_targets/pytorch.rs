#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::{Model, pytorch::Beside};
use libfuzzer_sys::fuzz_target;

const SOUND: &[u8] = include_bytes!("../../test/fixtures/formats/pytorch-zip/pytorch_model.bin");
/// Where a file of the form before PyTorch 1.6 has its magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a";

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::of("formats/pytorch-zip", &["pytorch_model.bin"]));
static BESIDE: LazyLock<Beside> = LazyLock::new(|| Beside::of(SOUND));

// A pickle where the input begins as one does, else a file of either form.
fuzz_target!(|bytes: &[u8]| {
    if bytes.first() == Some(&0x80) && !bytes.starts_with(LEGACY) {
        MODEL.try_weights("pytorch_model.bin", &BESIDE.with(bytes));
    } else {
        MODEL.try_weights("pytorch_model.bin", bytes);
    }
});
