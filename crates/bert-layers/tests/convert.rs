//! `convert` writes the same model, and either all of it or nothing.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bert_layers::{
    Cancel, ConvertOptions, DeviceChoice, Dtype, EncodeOptions, Encoder, Error, LoadOptions, Pool, Search,
    WeightFormat, convert, inspect,
};
use half::{bf16, f16};
use safetensors::{Dtype as Stored, SafeTensors};
use support::{Case, Goldens, fixture, load};

const ORIGINAL: &str = "goldens-extra/weights-masked-lm";
const FORMATS: [(&str, WeightFormat); 6] = [
    ("pytorch-zip", WeightFormat::Pytorch),
    ("pytorch-legacy", WeightFormat::Pytorch),
    ("pytorch-sharded", WeightFormat::Pytorch),
    ("flax", WeightFormat::Flax),
    ("tensorflow", WeightFormat::Tensorflow),
    ("tensorflow-keras", WeightFormat::Tensorflow),
];

/// A folder to write into; removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bert-layers-convert-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn fixture_name(name: &str) -> String {
    fixture(name).to_string_lossy().into_owned()
}

/// Name → type, shape, bytes, as safetensors' own reader has them.
type Tensors = BTreeMap<String, (Stored, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("a sound file");
    file.iter().map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect()
}

#[test]
fn every_format_becomes_the_original_to_the_byte() {
    let temporary = Temporary::new("formats");
    let original = read(&fixture(ORIGINAL).join("model.safetensors"));
    for (format, kind) in FORMATS {
        let target = temporary.join(format);
        let source = fixture_name(&format!("formats/{format}"));
        let done = convert(&source, &target, &ConvertOptions::default()).expect(format);
        assert_eq!(done.format, kind);
        assert!(names(&target).contains(&"config.json".to_owned()), "{format}");
        let mut written = read(&target.join("model.safetensors"));
        assert_eq!(done.tensors, written.len());
        if format == "pytorch-legacy" {
            let ids = written.remove("bert.embeddings.position_ids").expect("an integer buffer is kept");
            assert_eq!((ids.0, ids.1), (Stored::I64, vec![1, 40]));
        }
        assert_eq!(written, original, "{format}");
        let encoder = Encoder::from_pretrained(&target.to_string_lossy(), &LoadOptions::default()).expect(format);
        let case = Case::read(&Goldens::read(ORIGINAL), "short");
        case.check(&encoder.encode(&case.packed(), &EncodeOptions::default()).expect("states"), format);
    }
    let mut expected: Vec<_> = FORMATS.iter().map(|(format, _)| (*format).to_owned()).collect();
    expected.sort();
    assert_eq!(temporary.names(), expected, "nothing else is left");
}

#[test]
fn a_google_release_becomes_a_folder_that_loads() {
    let temporary = Temporary::new("google");
    let target = temporary.join("deep/er/model");
    let index = fixture("formats/tensorflow").join("bert_model.ckpt.index");
    let done = convert(&index.to_string_lossy(), &target, &ConvertOptions::default()).expect("by its file");
    assert_eq!(done.files, ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]);
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(target.join("config.json")).expect("a config")).expect("JSON");
    assert_eq!(config["model_type"], "bert");
    // The fixture's vocabulary has both "Hello" and "hello".
    let released = load("formats/tensorflow", DeviceChoice::Cpu);
    let written = Encoder::from_pretrained(&target.to_string_lossy(), &LoadOptions::default()).expect("loads");
    for encoder in [released, written] {
        let states = encoder.encode(&["Hello hello".into()], &EncodeOptions::default()).expect("states");
        assert_eq!(states.tokens().ids, [2, 5, 6, 3]);
    }
}

#[test]
fn a_type_is_the_nearest_value() {
    let temporary = Temporary::new("dtype");
    let source = fixture_name("formats/pytorch-views"); // with F64 and views in it
    let original = read(&fixture(ORIGINAL).join("model.safetensors"));
    for (dtype, stored, name) in [
        (Dtype::Float32, Stored::F32, "float32"),
        (Dtype::Float16, Stored::F16, "float16"),
        (Dtype::Bfloat16, Stored::BF16, "bfloat16"),
    ] {
        let target = temporary.join(name);
        let options = ConvertOptions { dtype: Some(dtype), ..ConvertOptions::default() };
        convert(&source, &target, &options).expect(name);
        let written = read(&target.join("model.safetensors"));
        assert_eq!(written.len(), original.len());
        for (tensor, (_, shape, bytes)) in &original {
            let expected: Vec<u8> = bytes
                .as_chunks()
                .0
                .iter()
                .flat_map(|&value| {
                    let value = f32::from_le_bytes(value);
                    match stored {
                        Stored::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
                        Stored::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
                        _ => value.to_le_bytes().to_vec(),
                    }
                })
                .collect();
            assert_eq!(written[tensor], (stored, shape.clone(), expected), "{tensor} as {name}");
        }
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(target.join("config.json")).expect("a config")).expect("JSON");
        assert_eq!(config["dtype"], name);
    }
    let options = ConvertOptions { dtype: Some(Dtype::Int8), ..ConvertOptions::default() };
    let error = convert(&source, &temporary.join("int8"), &options).expect_err("no int8");
    assert_eq!(error.code(), "ERR_INVALID_INPUT");
    // Without a type each tensor keeps its own.
    convert(&source, &temporary.join("kept"), &ConvertOptions::default()).expect("kept");
    let kept = read(&temporary.join("kept/model.safetensors"));
    assert!(
        kept.values().any(|(dtype, ..)| *dtype == Stored::F64)
            && kept.values().any(|(dtype, ..)| *dtype == Stored::F32)
    );
}

/// A folder with the fixture's files, one value of its embedding changed.
fn with_value(folder: &Path, value: f32) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::copy(fixture(ORIGINAL).join("config.json"), folder.join("config.json")).expect("copied");
    let mut bytes = std::fs::read(fixture(ORIGINAL).join("model.safetensors")).expect("weights");
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&value.to_le_bytes());
    std::fs::write(folder.join("model.safetensors"), bytes).expect("writable");
}

#[test]
fn a_value_that_does_not_fit_is_an_error_and_leaves_nothing() {
    let temporary = Temporary::new("range");
    let source = temporary.join("source");
    for (value, dtype, code, says) in [
        (70_000.0, Some(Dtype::Float16), "ERR_INVALID_INPUT", "bfloat16"),
        (f32::MAX, Some(Dtype::Bfloat16), "ERR_INVALID_INPUT", "BF16"),
        (f32::NAN, None, "ERR_MODEL_INVALID", "NaN"),
        (f32::INFINITY, Some(Dtype::Float16), "ERR_MODEL_INVALID", "infinity"),
    ] {
        with_value(&source, value);
        let options = ConvertOptions { dtype, ..ConvertOptions::default() };
        let error = convert(&source.to_string_lossy(), &temporary.join("target"), &options).expect_err(says);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(temporary.names(), ["source"]);
    }
    with_value(&source, 65_000.0);
    let options = ConvertOptions { dtype: Some(Dtype::Float16), ..ConvertOptions::default() };
    convert(&source.to_string_lossy(), &temporary.join("target"), &options).expect("fits");
}

#[test]
fn nothing_is_replaced_without_being_told() {
    let temporary = Temporary::new("force");
    let target = temporary.join("target");
    let source = fixture_name("formats/flax");
    std::fs::create_dir(&target).expect("a folder");
    convert(&source, &target, &ConvertOptions::default()).expect("an empty folder is free");
    std::fs::write(target.join("mine.txt"), "mine").expect("writable");
    std::fs::write(target.join("config.json"), "theirs").expect("writable");
    let error = convert(&source, &target, &ConvertOptions::default()).expect_err("not told to");
    assert_eq!(error.code(), "ERR_INVALID_INPUT");
    assert_eq!(std::fs::read_to_string(target.join("config.json")).expect("a file"), "theirs");
    let force = ConvertOptions { force: true, ..ConvertOptions::default() };
    convert(&source, &target, &force).expect("told to");
    assert_eq!(names(&target), ["config.json", "mine.txt", "model.safetensors"]);
    assert_ne!(std::fs::read_to_string(target.join("config.json")).expect("a file"), "theirs");
    // In place: the folder gets model.safetensors beside what it has.
    let place = temporary.join("place");
    std::fs::create_dir(&place).expect("a folder");
    for name in names(&fixture("formats/flax")) {
        std::fs::copy(fixture("formats/flax").join(&name), place.join(&name)).expect("copied");
    }
    convert(&place.to_string_lossy(), &place, &force).expect("in place");
    assert_eq!(names(&place), ["config.json", "flax_model.msgpack", "model.safetensors"]);
    let error = convert(&source, &place.join("config.json"), &force).expect_err("a file");
    assert_eq!(error.code(), "ERR_INVALID_INPUT");
    assert_eq!(temporary.names(), ["place", "target"]);
}

#[test]
fn cancelled_it_leaves_nothing() {
    let temporary = Temporary::new("cancel");
    let cancel = Cancel::new();
    cancel.cancel();
    let options = ConvertOptions { cancel, ..ConvertOptions::default() };
    let result = convert(&fixture_name("formats/flax"), &temporary.join("target"), &options);
    assert_eq!(result, Err(Error::Cancelled));
    assert_eq!(temporary.names(), Vec::<String>::new());
}

#[test]
fn takes_what_belongs_to_the_model() {
    let temporary = Temporary::new("beside");
    let (source, target) = (temporary.join("source"), temporary.join("target"));
    with_value(&source, 0.5);
    for name in ["vocab.txt", "tokenizer_config.json", "LICENSE", "notes.txt", "pytorch_model.bin"] {
        std::fs::write(source.join(name), name).expect("writable");
    }
    for folder in ["1_Pooling", "2_Dense", "cache"] {
        std::fs::create_dir(source.join(folder)).expect("a folder");
        std::fs::write(source.join(folder).join("config.json"), "{}").expect("writable");
    }
    let modules =
        r#"[{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "../source"}, {"path": "missing"}]"#;
    std::fs::write(source.join("modules.json"), modules).expect("writable");
    let done = convert(&source.to_string_lossy(), &target, &ConvertOptions::default()).expect("converted");
    let expected = [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "LICENSE",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer_config.json",
        "vocab.txt",
    ];
    assert_eq!(done.files, expected);
    let copied = |name: &str| std::fs::read(source.join(name)).ok() == std::fs::read(target.join(name)).ok();
    assert!(expected.into_iter().filter(|name| *name != "model.safetensors").all(copied));
}

/// Without a modules.json, 1_Pooling says how vectors are made, as it does on loading.
#[test]
fn takes_the_pooling_that_no_list_names() {
    let temporary = Temporary::new("pooling");
    let (source, target) = (temporary.join("source"), temporary.join("target"));
    with_value(&source, 0.5);
    std::fs::create_dir(source.join("1_Pooling")).expect("a folder");
    std::fs::write(source.join("1_Pooling/config.json"), r#"{"pooling_mode": "max"}"#).expect("writable");
    let done = convert(&source.to_string_lossy(), &target, &ConvertOptions::default()).expect("converted");
    assert_eq!(done.files, ["1_Pooling/config.json", "config.json", "model.safetensors"]);
    let [before, after] = [&source, &target].map(|folder| inspect(&folder.to_string_lossy(), &Search::default()));
    assert_eq!(before.expect("source").pooling, Some(Pool::Max));
    assert_eq!(after.expect("target").pooling, Some(Pool::Max));
}

#[test]
fn old_names_become_those_of_today() {
    let temporary = Temporary::new("names");
    let source = fixture_name("goldens-extra/weights-gamma-beta");
    convert(&source, &temporary.join("target"), &ConvertOptions::default()).expect("converted");
    let written = read(&temporary.join("target/model.safetensors"));
    assert!(written.contains_key("bert.embeddings.LayerNorm.weight"));
    assert!(!written.keys().any(|name| name.contains("gamma") || name.contains("beta")));
}
