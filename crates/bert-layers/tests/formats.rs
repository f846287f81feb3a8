//! The same weights in every format (scripts/make_format_fixtures.py, by the library whose format it is) are the same model.

mod support;

use bert_layers::{DeviceChoice, EncodeOptions};
use support::{Case, DEVICES, Goldens, fixture, load};

/// The safetensors that all others were made of.
const ORIGINAL: &str = "goldens-extra/weights-masked-lm";
const FORMATS: [&str; 8] = [
    "pytorch-zip",
    "pytorch-legacy",
    "pytorch-views",
    "pytorch-sharded",
    "flax",
    "flax-chunked",
    "tensorflow",
    "tensorflow-keras",
];

#[test]
fn every_format_gives_bit_equal_states() {
    let case = Case::read(&Goldens::read(ORIGINAL), "short");
    for device in DEVICES {
        let original = load(ORIGINAL, device).encode(&case.packed(), &EncodeOptions::default()).expect("states");
        case.check(&original, ORIGINAL);
        for format in FORMATS {
            let encoder = load(&format!("formats/{format}"), device);
            let states = encoder.encode(&case.packed(), &EncodeOptions::default()).expect("states");
            assert_eq!(states.layers(), original.layers(), "{format}");
            for &layer in original.layers() {
                for text in 0..case.shape[1] {
                    assert_eq!(
                        states.get(layer, text),
                        original.get(layer, text),
                        "{format}: layer {layer}, text {text}"
                    );
                }
            }
        }
    }
}

/// What a cache keys on is the model, not the file it came in.
#[test]
fn every_format_has_the_same_fingerprint() {
    let original = load(ORIGINAL, DeviceChoice::Cpu);
    for format in FORMATS.into_iter().filter(|&format| format != "tensorflow") {
        let encoder = load(&format!("formats/{format}"), DeviceChoice::Cpu);
        assert_eq!(encoder.fingerprint(), original.fingerprint(), "{format}");
    }
    // Google's folder has a vocabulary, which the original lacks.
    assert_ne!(load("formats/tensorflow", DeviceChoice::Cpu).fingerprint(), original.fingerprint());
}

/// Task checkpoints of the other families, as Transformers' Flax and TensorFlow models write them (see
/// scripts/make_family_format_fixtures.py), are the checkpoints that they were made of: names, heads and all.
#[test]
fn every_family_in_flax_and_tensorflow() {
    let mut seen = [0, 0];
    for folder in std::fs::read_dir(fixture("formats-families")).expect("fixtures") {
        let name = folder.expect("a folder").file_name().to_string_lossy().into_owned();
        let source = format!("goldens-families/{name}");
        let case = Case::read(&Goldens::read(&source), "short");
        for (i, format) in ["flax", "tensorflow"].into_iter().enumerate() {
            let made = format!("formats-families/{name}/{format}");
            if !fixture(&made).is_dir() {
                continue;
            }
            seen[i] += 1;
            for device in DEVICES {
                let (original, read) = (load(&source, device), load(&made, device));
                // TFMPNet has a pooler always, with weights of its own where the checkpoint has none.
                let own_pooler = name.starts_with("mpnet-") && format == "tensorflow";
                assert_eq!(read.has_pooler(), original.has_pooler() || own_pooler, "{made}");
                assert_eq!(read.fingerprint() == original.fingerprint(), !own_pooler, "{made}");
                let states = read.encode(&case.packed(), &EncodeOptions::default()).expect("states");
                let expected = original.encode(&case.packed(), &EncodeOptions::default()).expect("states");
                assert_eq!(states.data(), expected.data(), "{made}");
                case.check(&states, &made);
            }
        }
    }
    assert!(seen[0] >= 10 && seen[1] >= 17, "{seen:?}");
}
