#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::{Model, named};
use libfuzzer_sys::fuzz_target;

const SOUND: [&[u8]; 2] = [
    include_bytes!("../../test/fixtures/goldens-extra/text-byte-level/vocab.json"),
    include_bytes!("../../test/fixtures/goldens-extra/text-byte-level/merges.txt"),
];

// DeBERTa's special tokens are BERT's.
static MODELS: LazyLock<[(&str, Model); 2]> = LazyLock::new(|| {
    [
        ("[CLS]", Model::of("goldens-families/text-deberta", &["vocab.json"])),
        ("<s>", Model::of("goldens-extra/text-byte-level", &["vocab.json"])),
    ]
});

// vocab.json where the input begins as JSON does, else merges.txt; the other is sound.
fuzz_target!(|bytes: &[u8]| {
    let model = named(bytes, &*MODELS);
    if bytes.first() == Some(&b'{') {
        model.try_with("vocab.json", bytes);
    } else {
        let (_, roberta) = &MODELS[1];
        roberta.write("vocab.json", SOUND[0]);
        roberta.try_with("merges.txt", bytes);
        roberta.write("merges.txt", SOUND[1]);
    }
});
