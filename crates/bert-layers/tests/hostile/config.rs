//! Small files that say enormous things.

use serde_json::{Value, json};

use super::{Folder, alone};

const INVALID: &str = "ERR_MODEL_INVALID";
const UNSUPPORTED: &str = "ERR_MODEL_UNSUPPORTED";

/// config.json with one field of one's own.
fn with(folder: &Folder, field: &str, value: Value) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(&folder.read("config.json")).expect("JSON");
    config[field] = value;
    config.to_string().into_bytes()
}

#[test]
fn a_message_does_not_quote_a_whole_file() {
    let _alone = alone();
    let folder = Folder::copy("goldens-extra/weights-f16", "config-message");
    let sound = folder.read("config.json");
    for (field, value, code) in [
        ("hidden_act", json!("世".repeat(100_000)), UNSUPPORTED),
        ("model_type", json!("x".repeat(100_000)), UNSUPPORTED),
        ("hidden_size", json!(vec![0; 100_000]), INVALID),
        ("layer_norm_eps", json!("x".repeat(100_000)), INVALID),
    ] {
        folder.write("config.json", &with(&folder, field, value));
        folder.refused(code, &[field, "…"]);
        folder.write("config.json", &sound);
    }
    for file in ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer_config.json"] {
        let _ = std::fs::create_dir(folder.0.join("1_Pooling"));
        let value = json!({"pooling_mode": {"x": "x".repeat(100_000)}, "max_seq_length": "x".repeat(100_000)});
        folder.write(file, value.to_string().as_bytes());
        let _ = folder.load().map_err(|error| assert!(error.to_string().len() < 2000));
    }
}

#[test]
fn json_is_neither_deep_nor_of_many_values() {
    let _alone = alone();
    let folder = Folder::copy("goldens-extra/weights-f16", "config-json");
    let sound = folder.read("config.json");
    let many = format!("{{\"model_type\":\"bert\",\"x\":[{}0]}}", "0,".repeat(8 << 20));
    for file in ["config.json", "tokenizer_config.json", "modules.json", "config_sentence_transformers.json"] {
        folder.write(file, many.as_bytes());
        folder.refused(INVALID, &[file, "values: it is no such file"]);
        for open in ["[", "{\"a\":"] {
            folder.write(file, open.repeat(1 << 20).as_bytes());
            folder.refused(INVALID, &[file]);
            folder.write(file, open.repeat(10_000).as_bytes());
            folder.refused(INVALID, &[file, "recursion limit"]);
        }
        match file {
            "config.json" => folder.write(file, &sound),
            _ => folder.remove(file),
        }
    }
    let folder = Folder::copy("goldens-extra/weights-sharded", "config-index");
    folder.write("model.safetensors.index.json", many.as_bytes());
    folder.refused(INVALID, &["values: it is no such file"]);
}

/// [hidden, 1, kernel] values on disk, [hidden, kernel, hidden] to compute with.
#[test]
fn a_convolution_is_not_far_larger_than_its_file() {
    let _alone = alone();
    let folder = Folder::copy("goldens-families/deberta-v2-conv", "config-conv");
    folder.write("config.json", &with(&folder, "conv_kernel_size", json!(4_000_000_001u32)));
    folder.refused(UNSUPPORTED, &["conv_kernel_size 4000000001"]);
}
