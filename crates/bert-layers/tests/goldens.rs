//! Every layer equals Hugging Face Transformers, with the fast kernels and with candle.

mod support;

use bert_layers::{Cancel, DeviceChoice, EncodeOptions, Input, OffsetUnit};
use serde_json::Value;
use support::{Case, DEVICES, FAMILIES, Goldens, close, fixture, load};

/// Tiny BERTs: three activations, odd sizes, two padded batches each.
const BERT: [&str; 3] = ["goldens/bert", "goldens/bert-relu", "goldens/bert-gelu_new"];

/// Each variant of DeBERTa that a config can ask for, and task checkpoints: see scripts/make_deberta_goldens.py.
const DEBERTA: [&str; 14] = [
    "deberta-v2-c2p",
    "deberta-v2-p2c",
    "deberta-v2-own-keys",
    "deberta-v2-no-buckets",
    "deberta-v2-conv",
    "deberta-v2-conv-groups",
    "deberta-v2-biased-input",
    "deberta-v2-no-relative",
    "deberta-v2-no-types-of-attention",
    "deberta-v2-masked-lm",
    "deberta-v2-sequence-classification",
    "deberta",
    "deberta-c2p",
    "deberta-masked-lm",
];

/// The same in every form that checkpoints come in, and the activations that have parameters.
const FORMS: [&str; 7] = [
    "weights-sharded",
    "weights-f16",
    "weights-bf16",
    "weights-masked-lm",
    "weights-gamma-beta",
    "act-prelu",
    "act-xielu",
];

#[test]
fn tiny_berts() {
    for name in BERT {
        check(name, &["short", "long"]);
    }
}

#[test]
fn every_family() {
    for name in FAMILIES {
        check(&format!("goldens/{name}"), &["short", "long"]);
    }
}

/// Task checkpoints, whose heads are left aside, and what a family can do that its first folder does not show: see
/// scripts/make_family_goldens.py.
#[test]
fn every_task_and_variant() {
    let folders = std::fs::read_dir(fixture("goldens-families")).expect("fixtures");
    let names: Vec<String> =
        folders.map(|entry| entry.expect("a folder").file_name().to_string_lossy().into_owned()).collect();
    for family in FAMILIES.into_iter().chain(["data2vec-text", "rembert", "splinter"]) {
        assert!(names.iter().filter(|name| name.starts_with(&format!("{family}-"))).count() >= 2, "{family}");
    }
    for name in names.iter().filter(|name| !name.starts_with("text-")) {
        check(&format!("goldens-families/{name}"), &[if name == "mpnet-distances" { "long" } else { "short" }]);
    }
}

#[test]
fn every_form_of_checkpoint() {
    for name in FORMS {
        check(&format!("goldens-extra/{name}"), &["short"]);
    }
}

/// Tokens masked in the midst of a text: others keep their distances across them.
#[test]
fn deberta_with_holes() {
    for name in DEBERTA {
        let name = format!("goldens-families/{name}");
        let case = Case::read(&Goldens::read(&name), "holes");
        for device in DEVICES {
            let states = load(&name, device).encode(&case.padded(), &EncodeOptions::default()).expect("sound inputs");
            case.check(&states, &format!("{name} holes {device:?}"));
        }
    }
}

#[test]
fn every_instruction_set() {
    support::with_other_instruction_sets("every_instruction_set");
}

fn check(name: &str, cases: &[&str]) {
    let goldens = Goldens::read(name);
    for device in DEVICES {
        let encoder = load(name, device);
        for case_name in cases {
            let what = format!("{name} {case_name} {device:?}");
            let case = Case::read(&goldens, case_name);
            let pooler = case.pooler_output.is_some();
            assert_eq!(pooler, encoder.has_pooler(), "{what}");
            let options = EncodeOptions { pooler, ..EncodeOptions::default() };
            let packed = encoder.encode(&case.packed(), &options).expect("sound inputs");
            case.check(&packed, &what);
            let padded = encoder.encode(&case.padded(), &options).expect("sound inputs");
            case.check(&padded, &format!("{what}, padded"));
            if device == DeviceChoice::Cpu {
                // Not only close: padding is nothing to a text.
                for (layer, (text, token)) in (0..case.shape[0])
                    .flat_map(|layer| case.tokens(layer).map(move |(text, token, _)| (layer, (text, token))))
                {
                    assert_eq!(packed.token(layer, text, token), padded.token(layer, text, token), "{what}");
                }
            }
            for states in [&packed, &padded] {
                match (states.pooler_output(), &case.pooler_output) {
                    (Some(ours), Some(theirs)) => close(ours, theirs, &format!("{what}, pooler")),
                    (ours, theirs) => assert!(ours.is_none() && theirs.is_none(), "{what}, pooler"),
                }
            }
        }
    }
}

/// Texts through vocab.txt or tokenizer.json: tokens, ids, offsets, words, and some of the states.
#[test]
fn texts() {
    for name in [
        "text-vocab-uncased",
        "text-vocab-cased",
        "text-vocab-added-tokens",
        "text-tokenizer-json",
        "text-tokenizer-json-overruled",
        "text-byte-level",
        "text-byte-level-prefix",
        "../goldens-families/text-deberta",
        "../goldens-families/text-mpnet",
    ] {
        let name = format!("goldens-extra/{name}");
        let goldens = Goldens::read(&name);
        let json = std::fs::read(fixture(&name).join("goldens.json")).expect("goldens.json");
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        let encoders = DEVICES.map(|device| load(&name, device));
        for (i, case) in json["cases"].as_array().expect("cases").iter().enumerate() {
            let what = format!("{name} {}", case["input"]);
            let (input, parts) = input(&case["input"]);
            let special = case["addSpecialTokens"].as_bool().expect("a flag");
            if case["ids"].as_array().is_some_and(Vec::is_empty) {
                let error = encoders[0]
                    .encode(&[input], &EncodeOptions { add_special_tokens: special, ..EncodeOptions::default() });
                assert_eq!(error.expect_err(&what).code(), "ERR_INVALID_INPUT");
                continue;
            }
            let tokens = encoders[0]
                .tokenize(std::slice::from_ref(&input), special, OffsetUnit::Byte, &Cancel::new())
                .expect(&what);
            let tokenizer = encoders[0].tokenizer().expect("a tokenizer");
            let names: Vec<String> =
                tokens.ids.iter().map(|&id| tokenizer.id_to_token(id).expect("a known id")).collect();
            assert_eq!(serde_json::json!(names), case["tokens"], "{what}");
            assert_eq!(serde_json::json!(tokens.ids), case["ids"], "{what}");
            assert_eq!(serde_json::json!(tokens.type_ids), case["typeIds"], "{what}");
            assert_eq!(serde_json::json!(tokens.word_ids), case["wordIds"], "{what}");
            assert_eq!(serde_json::json!(tokens.sequence_ids), case["sequenceIds"], "{what}");
            let mask: Vec<u8> = tokens.special_tokens_mask.iter().map(|&m| m.into()).collect();
            assert_eq!(serde_json::json!(mask), case["specialTokensMask"], "{what}");
            // Transformers counts code points; the bytes before as many code points must be ours.
            let words = matches!(input, Input::Words(_));
            for (token, offsets) in case["offsets"].as_array().expect("offsets").iter().enumerate() {
                let part = if words { tokens.word_ids[token] } else { tokens.sequence_ids[token] };
                let text = part.map_or("", |part| parts[part as usize].as_str());
                let byte = |i: usize| {
                    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(i).expect("in the text") as u32
                };
                let at = |i: usize| byte(offsets[i].as_u64().expect("a number") as usize);
                assert_eq!(tokens.offsets[token], (at(0), at(1)), "{what}, token {token}");
            }
            if let Some((_, theirs)) = goldens.find(&format!("{i}.hidden_states")) {
                for encoder in &encoders {
                    let options = EncodeOptions { add_special_tokens: special, ..EncodeOptions::default() };
                    let states = encoder.encode(std::slice::from_ref(&input), &options).expect(&what);
                    close(states.data(), theirs, &what);
                }
            }
        }
    }
}

/// An input as the goldens write it, and the texts that its offsets count in.
fn input(value: &Value) -> (Input, Vec<String>) {
    let string = |value: &Value| value.as_str().expect("a string").to_owned();
    if let Some(text) = value.as_str() {
        return (Input::Text(text.into()), vec![text.into()]);
    }
    if let Some(words) = value.get("words") {
        let words: Vec<String> = words.as_array().expect("words").iter().map(string).collect();
        return (Input::Words(words.clone()), words);
    }
    let (text, pair) = (string(&value["text"]), string(&value["pair"]));
    (Input::Pair { text: text.clone(), pair: pair.clone() }, vec![text, pair])
}
