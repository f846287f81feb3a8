//! What `inspect` says of a model, without loading it.

mod support;

use std::path::PathBuf;

use bert_layers::{Dtype, Inspection, Search, WeightFormat, inspect};
use support::fixture;

fn look(path: PathBuf) -> Inspection {
    inspect(&path.to_string_lossy(), &Search::default()).expect("a model")
}

#[test]
fn the_default_model() {
    let seen = look(fixture("../../models/all-minilm-l6-v2"));
    assert_eq!(seen.model_type.as_deref(), Some("bert"));
    let config = seen.config.expect("a config");
    assert_eq!((config.num_layers(), config.hidden_size(), config.num_heads()), (6, 384, 12));
    // What its model card says: 22.7 million.
    assert_eq!(seen.parameters, 22_713_216);
    assert_eq!((seen.head_parameters, seen.heads.len()), (0, 0));
    assert!(seen.has_pooler);
    let [weights] = &seen.weights[..] else { panic!("{:?}", seen.weights) };
    assert_eq!((weights.format, weights.file.as_str()), (WeightFormat::Safetensors, "model.safetensors"));
    assert_eq!(weights.dtypes, [("F16".to_owned(), 22_713_216), ("I64".to_owned(), 512)]);
    let tokenizer = seen.tokenizer.expect("a tokenizer");
    assert_eq!((tokenizer.file, tokenizer.kind, tokenizer.tokens), ("tokenizer.json", "WordPiece", 30_522));
    assert!(seen.pooling_files.contains(&"1_Pooling/config.json".to_owned()));
    assert_eq!(seen.memory[0], (Dtype::Float32, 4 * 22_713_216));
    assert!(seen.memory[1].1 < seen.memory[0].1 && seen.memory[2].1 < seen.memory[1].1);
    assert_eq!(seen.notices, Vec::<String>::new());
}

/// Of task checkpoints: what is the encoder's and what is a head's. The counts are those of torch's modules, by hand: one block of
/// these has 1,960 values, and 24 is the number of positions, 40 that of ids.
#[test]
fn every_family() {
    const BLOCKS: u64 = 2 * 1960;
    let embeddings = |width: u64, rows: u64| (rows + 2) * width; // and a norm
    let pooler = 17 * 16;
    for (name, model_type, parameters, has_pooler, heads) in [
        (
            "roberta-masked-lm",
            "roberta",
            embeddings(16, 65) + BLOCKS,
            false,
            &["lm_head", "lm_head.dense", "lm_head.layer_norm"][..],
        ),
        (
            "xlm-roberta-sequence-classification",
            "xlm-roberta",
            embeddings(16, 65) + BLOCKS,
            false,
            &["classifier.dense", "classifier.out_proj"],
        ),
        (
            "distilbert-sequence-classification",
            "distilbert",
            embeddings(16, 64) + BLOCKS,
            false,
            &["classifier", "pre_classifier"],
        ),
        ("electra-token-classification", "electra", embeddings(8, 66) + 9 * 16 + BLOCKS, false, &["classifier"]),
        ("ernie-sequence-classification", "ernie", embeddings(16, 69) + BLOCKS + pooler, true, &["classifier"]),
        // Both layers are one block.
        ("albert-token-classification", "albert", embeddings(8, 66) + 9 * 16 + BLOCKS / 2, false, &["classifier"]),
        ("mpnet-token-classification", "mpnet", embeddings(16, 64) + 32 * 2 + BLOCKS, false, &["classifier"]),
    ] {
        let seen = look(fixture(&format!("goldens-families/{name}")));
        assert_eq!(seen.model_type.as_deref(), Some(model_type));
        assert_eq!((seen.parameters, seen.has_pooler), (parameters, has_pooler), "{name}");
        assert_eq!(seen.heads, heads, "{name}");
    }
}

#[test]
fn every_format_has_the_same_parameters() {
    let original = look(fixture("goldens-extra/weights-masked-lm"));
    assert_eq!(original.heads, ["cls.predictions"]);
    for name in [
        "pytorch-zip",
        "pytorch-legacy",
        "pytorch-views",
        "pytorch-sharded",
        "flax",
        "flax-chunked",
        "tensorflow",
        "tensorflow-keras",
    ] {
        let seen = look(fixture("formats").join(name));
        let counted = (seen.parameters, seen.head_parameters, seen.heads);
        assert_eq!(counted, (original.parameters, original.head_parameters, original.heads.clone()), "{name}");
        assert_eq!(seen.config, original.config, "{name}");
    }
}

#[test]
fn a_file_is_as_good_as_its_folder() {
    for (folder, file) in [
        ("pytorch-zip", "pytorch_model.bin"),
        ("pytorch-sharded", "pytorch_model.bin.index.json"),
        ("flax", "flax_model.msgpack"),
        ("tensorflow", "bert_model.ckpt.index"),
        ("tensorflow", "bert_model.ckpt.data-00000-of-00001"),
        ("tensorflow-keras", "variables/variables.index"),
    ] {
        let folder = fixture("formats").join(folder);
        assert_eq!(look(folder.join(file)), look(folder), "{file}");
    }
}

#[test]
fn formats_that_coexist_are_said_once() {
    let folder = std::env::temp_dir().join(format!("bert-layers-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let copy = |from: &str, name: &str| std::fs::copy(fixture(from).join(name), folder.join(name)).expect("copied");
    copy("formats/flax", "config.json");
    copy("formats/flax", "flax_model.msgpack");
    copy("formats/pytorch-zip", "pytorch_model.bin");
    let order = |seen: &Inspection| seen.weights.iter().map(|weights| weights.format).collect::<Vec<_>>();
    let tokenizer = |notice: &String| notice.contains("tokenizer");

    let seen = look(folder.clone());
    assert_eq!(order(&seen), [WeightFormat::Pytorch, WeightFormat::Flax]);
    let notices: Vec<_> = seen.notices.iter().filter(|notice| !tokenizer(notice)).collect();
    assert_eq!(notices, ["pytorch_model.bin is read; flax_model.msgpack is there too and is left aside"]);

    // Of another model: safetensors wins.
    copy("goldens-extra/act-prelu", "model.safetensors");
    let seen = look(folder.clone());
    assert_eq!(order(&seen), [WeightFormat::Safetensors, WeightFormat::Pytorch, WeightFormat::Flax]);
    let notices: Vec<_> = seen.notices.iter().filter(|notice| notice.contains("not of the same model")).collect();
    assert_eq!(notices.len(), 2, "{:?}", seen.notices);

    // A damaged file is said, and the others are shown.
    std::fs::write(folder.join("flax_model.msgpack"), b"\x93\x01\x02\x03").expect("writable");
    std::fs::write(folder.join("config.json"), r#"{"model_type": "gpt2"}"#).expect("writable");
    let seen = look(folder.clone());
    assert_eq!((seen.model_type.as_deref(), seen.config.is_some()), (Some("gpt2"), false));
    assert_eq!(seen.weights[2].tensors, None);
    assert!(seen.notices.iter().any(|notice| notice.contains("flax_model.msgpack") && notice.contains("damaged")));
    assert!(seen.notices.iter().any(|notice| notice.contains("'gpt2' is not supported; supported: bert")));
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn google_s_release_says_what_stands_for_what() {
    let seen = look(fixture("formats/tensorflow"));
    assert!(seen.notices.iter().any(|notice| notice.contains("bert_config.json")), "{:?}", seen.notices);
    assert!(seen.notices.iter().any(|notice| notice.contains("capital letters")), "{:?}", seen.notices);
}

#[test]
fn nothing_is_an_error() {
    let error = inspect("./no/such/model", &Search::default()).expect_err("nothing");
    assert_eq!(error.code(), "ERR_MODEL_NOT_FOUND");
    let error = inspect(&fixture("..").to_string_lossy(), &Search::default()).expect_err("no model");
    assert_eq!(error.code(), "ERR_MODEL_NOT_FOUND");
}
