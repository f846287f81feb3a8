//! A tokenizer.json that asks the tokenizers library for what it would die of, or never come back from.

use bert_layers::{EncodeOptions, Encoder, Error};
use serde_json::{Value, json};

use super::{Folder, alone};

const FILE: &str = "tokenizer.json";
const INVALID: &str = "ERR_MODEL_INVALID";

fn folder(test: &str) -> Folder {
    Folder::copy("goldens-extra/text-tokenizer-json", &format!("tokenizer-{test}"))
}

/// The tokenizer with one part of one's own.
fn with(folder: &Folder, part: &str, value: Value) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(&folder.read(FILE)).expect("JSON");
    file[part] = value;
    file.to_string().into_bytes()
}

/// Refuses each of these values of a part.
fn refuses(test: &str, part: &str, values: impl IntoIterator<Item = Value>, says: &str) {
    let folder = folder(test);
    let sound = folder.read(FILE);
    for value in values {
        folder.write(FILE, &with(&folder, part, value));
        folder.refused(INVALID, &[FILE, says]);
        folder.write(FILE, &sound);
    }
}

fn encode(encoder: &Encoder, text: &str) -> Result<(), Error> {
    encoder.encode(&[text.into()], &EncodeOptions::default()).map(drop)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let digit = |i| if i <= three.len() { DIGITS[(bits >> (18 - 6 * i)) as usize & 63] as char } else { '=' };
        text.extend((0..4).map(digit));
    }
    text
}

/// The length of a trie, the trie, the texts behind it.
fn charsmap(length: u32, trie: &[u32], texts: &[u8]) -> Value {
    let trie: Vec<u8> = trie.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let bytes = [&length.to_le_bytes(), &trie[..], texts].concat();
    json!({"type": "Precompiled", "precompiled_charsmap": base64(&bytes)})
}

fn sequence(list: &str, step: &Value, times: usize) -> Value {
    json!({"type": "Sequence", list: vec![step.clone(); times]})
}

/// The library takes eight bytes for each four that a table declares: here 8 GB.
#[test]
fn a_table_of_replacements_has_what_it_declares() {
    let _alone = alone();
    let tables =
        [charsmap(u32::MAX, &[], b""), charsmap(1028, &[0; 256], b""), json!({"precompiled_charsmap": "AAAA="})];
    let nested = sequence("normalizers", &sequence("normalizers", &tables[0], 1), 1);
    refuses("charsmap", "normalizer", tables.into_iter().chain([nested]), "precompiled_charsmap is damaged");
}

/// A table that leads out of itself shows only where a text leads there.
#[test]
fn what_shows_in_some_text_is_an_error_there() {
    let _alone = alone();
    let folder = folder("text");
    let sound = folder.read(FILE);
    let mut trie = [0; 256];
    trie[usize::from(b'~')] = 1 << 30 | 1 << 8 | u32::from(b'~');
    folder.write(FILE, &with(&folder, "normalizer", charsmap(1024, &trie, b"a\0")));
    let encoder = folder.load().expect("sound for other texts");
    encode(&encoder, "a b").expect("sound for this text");
    let error = encode(&encoder, "a ~").expect_err("it leads nowhere");
    assert_eq!((error.code(), error.to_string().contains("cannot encode this text")), (INVALID, true), "{error}");
    // A pattern that backtracks for ever: the library for regular expressions gives up, in a panic.
    let split = json!({"type": "Split", "pattern": {"Regex": "^(a|a)*$"}, "behavior": "Isolated", "invert": false});
    folder.write(FILE, &sound);
    folder.write(FILE, &with(&folder, "pre_tokenizer", split));
    let encoder = folder.load().expect("sound for other texts");
    let error = encode(&encoder, &format!("{}!", "a".repeat(40))).expect_err("too many ways");
    assert_eq!((error.code(), error.to_string().contains("cannot encode this text")), (INVALID, true), "{error}");
}

#[test]
fn texts_do_not_explode() {
    let _alone = alone();
    let replace = |pattern: Value, by: usize| json!({"type": "Replace", "pattern": pattern, "content": "a".repeat(by)});
    let words = |count| json!({"type": "Replace", "pattern": {"String": ""}, "content": "a ".repeat(count)});
    let bombs = [
        sequence("normalizers", &replace(json!({"String": "a"}), 1000), 20),
        sequence("normalizers", &replace(json!({"Regex": ""}), 1), 40),
        replace(json!({"Regex": ""}), 60_000), // found: 215 MB for a text of a hundred characters
        words(2000),                           // found: 132 MB for the texts that a model sees while it is loaded
        sequence("normalizers", &sequence("normalizers", &replace(json!({"Regex": "."}), 100), 3), 3),
        sequence("normalizers", &json!({"type": "ByteLevel"}), 40),
        sequence("normalizers", &charsmap(1024, &[0; 256], &[b'a'; 100]), 10),
        json!({"type": "Prepend", "prepend": "a".repeat(100_000)}),
        // Without its type, which the library does not need.
        sequence("normalizers", &json!({"pattern": {"String": "a"}, "content": "aaaaaaaaaa"}), 20),
    ];
    refuses("normalizer", "normalizer", bombs, "enormous");
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    refuses("pre", "pre_tokenizer", [sequence("pretokenizers", &byte_level, 40)], "enormous");
    let decoders = [
        sequence("decoders", &replace(json!({"String": "a"}), 1000), 20),
        sequence("decoders", &json!({"type": "BPEDecoder", "suffix": ""}), 40),
    ];
    refuses("decoder", "decoder", decoders, "enormous");
    let folder = folder("grows");
    folder.write(FILE, &with(&folder, "normalizer", words(300)));
    folder.load().expect("long texts, one at a time");
    refuses("steps", "normalizer", [sequence("normalizers", &json!({"type": "Lowercase"}), 10_000)], "steps");
}

/// The normalizer of XLM-R's kind; 33 bytes are the longest replacement in sentencepiece's own tables (nmt_nfkc, nmt_nfkc_cf, nfkc).
#[test]
fn what_trained_tokenizers_replace_is_let_through() {
    let _alone = alone();
    let folder = folder("trained");
    let blanks = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"});
    let (case, forms, prepend) =
        (json!({"type": "Lowercase"}), json!({"type": "NFKC"}), json!({"type": "Prepend", "prepend": "▁"}));
    let steps = [charsmap(1024, &[0; 256], &[b'x'; 33]), case, blanks, forms, prepend];
    let normalizer = json!({"type": "Sequence", "normalizers": steps});
    folder.write(FILE, &with(&folder, "normalizer", normalizer));
    encode(&folder.load().expect("a sound tokenizer"), "Hello  world").expect("tokens");
}

/// Each piece stands for a thousand tokens, or for the whole text again.
#[test]
fn few_tokens_are_put_around_a_text() {
    let _alone = alone();
    let special = |ids: usize| json!({"x": {"id": "x", "ids": vec![0; ids], "tokens": vec!["x"; ids]}});
    let template = |piece: Value, times: usize, ids: usize| json!({"type": "TemplateProcessing", "single": vec![piece.clone(); times], "pair": [piece], "special_tokens": special(ids)});
    let token = json!({"SpecialToken": {"id": "x", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let templates = [template(token, 10, 10_000), template(text, 10_000, 1)];
    refuses("around", "post_processor", templates, "its post_processor has a list of 10000");
}

#[test]
fn added_tokens_are_few_and_short() {
    let _alone = alone();
    let token = |content: String| json!({"id": 5, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false});
    let lists = [json!([token("x".repeat(2 << 20))]), (0..40_000).map(|i| token(format!("{i:0>40}"))).collect()];
    refuses("added", "added_tokens", lists, "it adds tokens of");
    let folder = Folder::copy("goldens-extra/text-vocab-added-tokens", "tokenizer-added");
    let sound: Value = serde_json::from_slice(&folder.read("tokenizer_config.json")).expect("JSON");
    let with = |field: &str, value: Value| {
        let mut config = sound.clone();
        config[field] = value;
        config.to_string().into_bytes()
    };
    let tokens: Vec<String> = (0..40_000).map(|i| format!("{i:0>40}")).collect();
    folder.write("tokenizer_config.json", &with("additional_special_tokens", json!(tokens)));
    folder.refused(INVALID, &["tokenizer_config.json", "it adds tokens of"]);
    // Ten thousand are read, in no more than a moment: the search for them is built once.
    let mut tokens = sound["added_tokens_decoder"].clone();
    for i in 0..10_000 {
        tokens[(5000 + i).to_string()] = token(format!("<{i}>"));
    }
    folder.write("tokenizer_config.json", &with("added_tokens_decoder", tokens));
    folder.refused(INVALID, &["tokenizer_config.json", "which the vocabulary contradicts"]);
}

/// The time that WordPiece takes for a word grows with its length's cube.
#[test]
fn words_are_short() {
    let _alone = alone();
    let folder = folder("word");
    let mut model = serde_json::from_slice::<Value>(&folder.read(FILE)).expect("JSON")["model"].clone();
    model["max_input_chars_per_word"] = json!(1_000_000);
    folder.write(FILE, &with(&folder, "model", model.clone()));
    folder.refused(INVALID, &[FILE, "max_input_chars_per_word 1000000"]);
    (model["max_input_chars_per_word"], model["continuing_subword_prefix"]) = (json!(100), json!("#".repeat(100_000)));
    folder.write(FILE, &with(&folder, "model", model));
    folder.refused(INVALID, &[FILE, "a piece has 100000 bytes"]);
}

/// JSON within JSON, groups within groups.
#[test]
fn depth_is_bounded() {
    let _alone = alone();
    let mut normalizer = json!({"type": "Lowercase"});
    for _ in 0..55 {
        normalizer = json!({"type": "Sequence", "normalizers": [normalizer]});
    }
    let folder = folder("depth");
    folder.write(FILE, &with(&folder, "normalizer", normalizer));
    folder.load().expect("deep, and within what JSON may be");
    for open in ["[", "{\"normalizer\":", "{\"model\":{\"vocab\":"] {
        folder.write(FILE, open.repeat(100_000).as_bytes());
        folder.refused(INVALID, &[FILE]);
    }
    let folder = self::folder("groups");
    for depth in [1000, 100_000] {
        let pattern = format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        folder.write(FILE, &with(&folder, "pre_tokenizer", split));
        let _ = folder.load().map_err(|error| assert_eq!(error.code(), INVALID, "{error}"));
    }
}
