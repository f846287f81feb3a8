//! Damaged weights are errors, whatever the damage; so are weights that the chosen dtype cannot hold.

mod support;

use std::path::{Path, PathBuf};

use bert_layers::{Dtype, Encoder, Error, LoadOptions};
use support::fixture;

/// A copy of a fixture that a test may damage; removed at the end.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str, test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bert-layers-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        for entry in std::fs::read_dir(fixture(name)).expect("a fixture").flatten() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("copied");
        }
        Self(folder)
    }

    fn weights(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }

    fn load(&self) -> Result<Encoder, Error> {
        Encoder::from_pretrained(&self.0.to_string_lossy(), &LoadOptions::default())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The JSON header of a safetensors file, and the bytes after it.
fn split(bytes: &[u8]) -> (String, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    (String::from_utf8(bytes[8..8 + length].to_vec()).expect("UTF-8"), &bytes[8 + length..])
}

fn write(path: &Path, header: &str, data: &[u8]) {
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    std::fs::write(path, bytes).expect("writable");
}

fn expect_invalid(copy: &Copy, what: &str) -> String {
    let error = copy.load().expect_err(what);
    assert_eq!(error.code(), "ERR_MODEL_INVALID", "{what}: {error}");
    error.to_string()
}

#[test]
fn cut_at_any_byte() {
    let copy = Copy::of("goldens-extra/weights-f16", "cut");
    let whole = std::fs::read(copy.weights()).expect("weights");
    let (header, _) = split(&whole);
    // Every byte of the header's edges, and steps through the rest: each length is a different file.
    let edge = 8 + header.len();
    let lengths =
        (0..64).chain((64..whole.len()).step_by(97)).chain(edge - 8..edge + 8).chain(whole.len() - 8..whole.len());
    for length in lengths {
        std::fs::write(copy.weights(), &whole[..length]).expect("writable");
        expect_invalid(&copy, &format!("cut to {length} bytes"));
    }
    std::fs::write(copy.weights(), [&whole[..], &[0]].concat()).expect("writable");
    expect_invalid(&copy, "a byte too many");
}

#[test]
fn a_header_that_lies() {
    let copy = Copy::of("goldens-extra/weights-f16", "header");
    let whole = std::fs::read(copy.weights()).expect("weights");
    let (header, data) = split(&whole);
    let json: serde_json::Value = serde_json::from_str(&header).expect("JSON");
    let name = "encoder.layer.0.output.dense.weight";
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = json.clone();
        change(&mut json[name]);
        write(&copy.weights(), &json.to_string(), data);
        expect_invalid(&copy, "a changed header")
    };
    let offsets = |json: &serde_json::Value| [0, 1].map(|i| json["data_offsets"][i].as_u64().expect("an offset"));
    change(&|t| t["data_offsets"] = serde_json::json!([0, offsets(t)[1] - offsets(t)[0]])); // overlaps the first tensor
    change(&|t| t["data_offsets"] = serde_json::json!([offsets(t)[0], u64::MAX]));
    change(&|t| t["data_offsets"] = serde_json::json!([offsets(t)[1], offsets(t)[0]]));
    change(&|t| t["shape"] = serde_json::json!([u64::MAX, u64::MAX]));
    change(&|t| t["dtype"] = serde_json::json!("F12"));
    change(&|t| *t = serde_json::json!("nothing"));
    let says = change(&|t| t["shape"] = serde_json::json!([t["shape"][1], t["shape"][0]]));
    assert!(says.contains(name) && says.contains("shape"), "{says}");
    let says = change(&|t| t["dtype"] = serde_json::json!("I16"));
    assert!(says.contains(name) && says.contains("I16"), "{says}");

    write(&copy.weights(), &header.replace(name, "encoder.layer.0.output.dense.other"), data);
    let says = expect_invalid(&copy, "a missing tensor");
    assert!(says.contains(name), "{says}");
}

#[test]
fn values_that_are_no_numbers() {
    let copy = Copy::of("goldens-extra/weights-f16", "nan");
    let whole = std::fs::read(copy.weights()).expect("weights");
    for bits in [0x7e00u16, 0x7c00, 0xfc00] {
        let mut damaged = whole.clone();
        let last = damaged.len() - 2;
        damaged[last..].copy_from_slice(&bits.to_le_bytes());
        std::fs::write(copy.weights(), damaged).expect("writable");
        let says = expect_invalid(&copy, "NaN or infinity");
        assert!(says.contains("NaN or infinity"), "{says}");
    }
}

#[test]
fn a_tensor_that_a_layer_might_need() {
    let copy = Copy::of("goldens-extra/weights-f16", "unknown");
    let whole = std::fs::read(copy.weights()).expect("weights");
    let (header, data) = split(&whole);
    let mut json: serde_json::Value = serde_json::from_str(&header).expect("JSON");
    let end = data.len();
    json["encoder.layer.0.attention.self.distance_embedding.weight"] =
        serde_json::json!({"dtype": "F16", "shape": [1], "data_offsets": [end, end + 2]});
    write(&copy.weights(), &json.to_string(), &[data, &[0, 0]].concat());
    let error = copy.load().expect_err("an unknown tensor");
    assert_eq!(error.code(), "ERR_MODEL_UNSUPPORTED");
    assert!(error.to_string().contains("distance_embedding"), "{error}");
}

#[test]
fn more_inputs_than_int8_adds_up() {
    let copy = Copy::of("goldens-extra/weights-f16", "wide");
    let whole = std::fs::read(copy.weights()).expect("weights");
    let (header, _) = split(&whole);
    let (narrow, wide) = (40, 66_573);
    let mut end = 0;
    let mut json: serde_json::Value = serde_json::from_str(&header).expect("JSON");
    for (name, tensor) in json.as_object_mut().expect("an object") {
        if name == "__metadata__" {
            continue;
        }
        let is_inner = name.contains("intermediate") || name.ends_with(".output.dense.weight");
        let mut count = 2;
        for size in tensor["shape"].as_array_mut().expect("a shape") {
            if is_inner && *size == narrow {
                *size = wide.into();
            }
            count *= size.as_u64().expect("a size");
        }
        tensor["data_offsets"] = serde_json::json!([end, end + count]);
        end += count;
    }
    write(&copy.weights(), &json.to_string(), &vec![0; end as usize]);
    let config = copy.0.join("config.json");
    let text = std::fs::read_to_string(&config).expect("a config");
    std::fs::write(&config, text.replace("\"intermediate_size\": 40", &format!("\"intermediate_size\": {wide}")))
        .expect("writable");

    assert!(copy.load().is_ok(), "float32 takes it");
    let options = LoadOptions { dtype: Dtype::Int8, ..LoadOptions::default() };
    let error = Encoder::from_pretrained(&copy.0.to_string_lossy(), &options).expect_err("too wide");
    assert_eq!(error.code(), "ERR_MODEL_UNSUPPORTED");
    assert!(error.to_string().contains("66573 inputs"), "{error}");
}

#[test]
fn shards_that_are_missing_or_elsewhere() {
    let copy = Copy::of("goldens-extra/weights-sharded", "shards");
    let index = copy.0.join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).expect("an index");
    std::fs::rename(copy.0.join("model-00002-of-00003.safetensors"), copy.0.join("elsewhere")).expect("renamed");
    assert!(expect_invalid(&copy, "a missing shard").contains("model-00002-of-00003"));
    for name in ["../model-00002-of-00003.safetensors", "/etc/passwd", "", ".", "a/b"] {
        std::fs::write(&index, text.replace("model-00002-of-00003.safetensors", name)).expect("writable");
        expect_invalid(&copy, name);
    }
    for text in ["", "[]", "{}", r#"{"weight_map": 1}"#, r#"{"weight_map": {"a": 1}}"#] {
        std::fs::write(&index, text).expect("writable");
        expect_invalid(&copy, text);
    }
}
