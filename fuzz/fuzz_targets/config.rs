#![no_main]

use std::sync::LazyLock;

use bert_layers_fuzz::{Model, named};
use libfuzzer_sys::fuzz_target;

// A small model of each family.
static MODELS: LazyLock<Vec<(&str, Model)>> = LazyLock::new(|| {
    [
        ("\"albert\"", "goldens-families/albert-groups"),
        ("\"camembert\"", "goldens-families/camembert-masked-lm"),
        ("\"data2vec-text\"", "goldens-families/data2vec-text"),
        ("\"deberta\"", "goldens-families/deberta"),
        ("\"deberta-v2\"", "goldens-families/deberta-v2-conv"),
        ("\"distilbert\"", "goldens-families/distilbert-masked-lm"),
        ("\"electra\"", "goldens-families/electra-masked-lm"),
        ("\"ernie\"", "goldens-families/ernie-masked-lm"),
        ("\"modernbert\"", "goldens-rotary/modernbert-biases"),
        ("\"mpnet\"", "goldens-families/mpnet-distances"),
        ("\"nomic_bert\"", "goldens-rotary/nomic_bert-own-names"),
        ("\"rembert\"", "goldens-families/rembert"),
        ("\"roberta\"", "goldens-families/roberta-padding-inside"),
        ("\"splinter\"", "goldens-families/splinter"),
        ("\"xlm-roberta\"", "goldens-families/xlm-roberta-masked-lm"),
        ("\"bert\"", "goldens-extra/weights-f16"),
    ]
    .map(|(family, fixture)| (family, Model::of(fixture, &["config.json"])))
    .into()
});

fuzz_target!(|bytes: &[u8]| named(bytes, &MODELS).try_with("config.json", bytes));
