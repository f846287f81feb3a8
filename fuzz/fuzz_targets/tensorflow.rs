#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::Model;
use bert_layers_fuzz::tensorflow::{has_objects, with_checksums, with_graph};
use libfuzzer_sys::fuzz_target;

const INDEX: &str = "variables/variables.index";
const DATA: &str = "variables/variables.data-00000-of-00001";
const SOUND: [&[u8]; 2] = [
    include_bytes!("../../test/fixtures/formats/tensorflow-keras/variables/variables.index"),
    include_bytes!("../../test/fixtures/formats/tensorflow-keras/variables/variables.data-00000-of-00001"),
];

static GOOGLE: LazyLock<Model> =
    LazyLock::new(|| Model::of("formats/tensorflow", &["bert_model.ckpt.index", "vocab.txt"]));
static KERAS: LazyLock<Model> = LazyLock::new(|| Model::of("formats/tensorflow-keras", &[INDEX]));

// An object graph where the input begins as one does, else the index of a checkpoint with objects or without.
fuzz_target!(|bytes: &[u8]| {
    if bytes.first() == Some(&b'\n') {
        KERAS.write(INDEX, SOUND[0]);
        KERAS.try_weights(DATA, &with_graph(SOUND[1], bytes));
    } else if has_objects(bytes) {
        KERAS.write(DATA, SOUND[1]);
        KERAS.try_weights(INDEX, &with_checksums(bytes));
    } else {
        GOOGLE.try_weights("bert_model.ckpt.index", &with_checksums(bytes));
    }
});
