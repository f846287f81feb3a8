//! What the tokenizers library must not be asked: it takes the memory and the time that a file says, and memory that is not there
//! ends the process. So this is looked for in the file before the library sees it.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::ModelWrapper;

use crate::{Error, Result};

/// How many times its length a text may get by what is replaced in it, at about 180 bytes of memory a character. The longest
/// replacement of sentencepiece has 33 bytes; with XLM-R's other steps it could make 528.
const MAX_GROWTH: f64 = 640.0;
/// Steps one after the other; tokenizers that were trained have up to a dozen.
const MAX_STEPS: usize = 100;
/// Bytes of all tokens beside the vocabulary: the search for them takes about a hundred times as many.
const MAX_ADDED: usize = 1 << 20;
/// The same of tokens that are looked for as the normalizer makes them.
const MAX_ADDED_GROWN: f64 = (64 << 20) as f64;
/// Special tokens around a text, and pieces of each.
const MAX_AROUND: usize = 64;

/// Characters of a word that WordPiece splits, in a time that grows with their cube; every known model has 100.
const MAX_WORD: usize = 1000;

/// Bytes of what pieces within a word begin with, such as "##": each is looked up with it.
const MAX_AFFIX: usize = 64;

/// The parts of a tokenizer.json beside its model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    added_tokens: Value,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
}

/// Checks a tokenizer.json.
///
/// # Errors
/// [`Error::ModelInvalid`] for one that is not JSON, or that would become far larger than it is.
pub(super) fn check(text: &[u8], path: &Path) -> Result<()> {
    let invalid = |reason: String| Error::invalid_file(path, format!("is malformed: {reason}"));
    let parts: Parts = serde_json::from_slice(text).map_err(|e| invalid(e.to_string()))?;
    let mut steps = 0;
    let mut growth = |part: &Value| growth(part, &mut steps).map_err(invalid);
    let (normalized, split) = (growth(&parts.normalizer)?, growth(&parts.pre_tokenizer)?);
    let decoded = growth(&parts.decoder)?;
    if steps > MAX_STEPS {
        return Err(invalid(format!("it has {steps} steps")));
    }
    if normalized * split > MAX_GROWTH || decoded > MAX_GROWTH {
        return Err(invalid("what it replaces in a text would make it enormous".into()));
    }
    let around = longest_list(&parts.post_processor);
    if around > MAX_AROUND {
        return Err(invalid(format!("its post_processor has a list of {around}")));
    }
    let added = parts.added_tokens.as_array().into_iter().flatten();
    check_bytes(added.filter_map(|token| token.get("content")?.as_str()), normalized).map_err(invalid)
}

/// Checks how words are split.
pub(super) fn check_model(model: &ModelWrapper) -> std::result::Result<(), String> {
    let affixes = match model {
        ModelWrapper::WordPiece(model) if model.max_input_chars_per_word > MAX_WORD => {
            let characters = model.max_input_chars_per_word;
            return Err(format!("its max_input_chars_per_word {characters} is more than {MAX_WORD}"));
        }
        ModelWrapper::WordPiece(model) => [Some(&model.continuing_subword_prefix), None],
        ModelWrapper::BPE(model) => [model.continuing_subword_prefix.as_ref(), model.end_of_word_suffix.as_ref()],
        _ => [None, None],
    };
    match affixes.into_iter().flatten().find(|affix| affix.len() > MAX_AFFIX) {
        Some(affix) => Err(format!("what it puts before or behind a piece has {} bytes", affix.len())),
        None => Ok(()),
    }
}

/// Checks tokens beside a vocabulary.
pub(super) fn check_added(tokens: &[AddedToken]) -> std::result::Result<(), String> {
    check_bytes(tokens.iter().map(|token| token.content.as_str()), 1.0)
}

fn check_bytes<'a>(tokens: impl Iterator<Item = &'a str>, growth: f64) -> std::result::Result<(), String> {
    let bytes: usize = tokens.map(str::len).sum();
    if bytes > MAX_ADDED || growth * bytes as f64 > MAX_ADDED_GROWN {
        return Err(format!("it adds tokens of {bytes} bytes to the vocabulary"));
    }
    Ok(())
}

/// How many times its length a part makes a text at most. The library knows parts by their fields, whatever "type" says.
fn growth(part: &Value, steps: &mut usize) -> std::result::Result<f64, String> {
    *steps += 1;
    let field = |name: &str| part.get(name);
    let length = |name: &str| field(name).and_then(Value::as_str).map(|text| text.len() as f64);
    let lists = ["normalizers", "pretokenizers", "decoders"].into_iter().filter_map(|name| field(name)?.as_array());
    let mut grown = 1.0;
    for part in lists.flatten() {
        grown *= growth(part, steps)?;
    }
    if let (Some(pattern), Some(content)) = (field("pattern"), length("content")) {
        // A text may be replaced by itself and more; a regular expression may match nothing, between any two bytes.
        let replaced = pattern.get("String").and_then(Value::as_str).map_or(0.0, |text| text.len() as f64);
        grown *= if replaced > 0.0 { (content / replaced).max(1.0) } else { content + 1.0 };
    }
    if let Some(prepended) = length("prepend") {
        grown *= prepended + 1.0;
    }
    if let Some(charsmap) = field("precompiled_charsmap").and_then(Value::as_str) {
        grown *= longest_replacement(charsmap).ok_or("its precompiled_charsmap is damaged")?.max(1) as f64;
    }
    // Bytes become characters of up to two, and of a suffix of nothing there is one behind every character.
    let byte_level = field("type").and_then(Value::as_str) == Some("ByteLevel") || field("trim_offsets").is_some();
    if byte_level || length("suffix") == Some(0.0) {
        grown *= 2.0;
    }
    Ok(grown)
}

/// The longest text that sentencepiece's table of replacements has: the length of a trie, the trie, texts that end in a zero. None
/// for a table that is shorter than it says.
fn longest_replacement(charsmap: &str) -> Option<usize> {
    let bytes = base64(charsmap)?;
    let (length, rest) = bytes.split_first_chunk()?;
    let texts = rest.get(u32::from_le_bytes(*length) as usize..)?;
    texts.split(|&byte| byte == 0).map(<[u8]>::len).max()
}

/// The bytes of a text in base 64.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn longest_list(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(longest_list).max().unwrap_or(0).max(items.len()),
        Value::Object(fields) => fields.values().map(longest_list).max().unwrap_or(0),
        _ => 0,
    }
}
