#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::Model;
use libfuzzer_sys::fuzz_target;

static VOCAB: LazyLock<Model> = LazyLock::new(|| Model::of("goldens-extra/text-byte-level", &[]));

// vocab.json where the input begins as JSON does, else merges.txt; the other is sound.
fuzz_target!(|bytes: &[u8]| {
    const SOUND: [&[u8]; 2] = [
        include_bytes!("../../test/fixtures/goldens-extra/text-byte-level/vocab.json"),
        include_bytes!("../../test/fixtures/goldens-extra/text-byte-level/merges.txt"),
    ];
    if bytes.first() == Some(&b'{') {
        VOCAB.write("merges.txt", SOUND[1]);
        VOCAB.try_with("vocab.json", bytes);
    } else {
        VOCAB.write("vocab.json", SOUND[0]);
        VOCAB.try_with("merges.txt", bytes);
    }
});
