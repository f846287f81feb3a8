//! Which tokenizer a folder has.

use std::path::Path;

use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};

use super::config::Config;
use super::{Tokenizer, bpe, caught, limits, vocab};
use crate::{Error, Result};

/// The files that decide what a tokenizer does.
const FILES: [&str; 6] =
    ["tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"];

/// Vocabularies of sentencepiece, under the names of the families that have them.
const SENTENCEPIECE: [&str; 4] = ["sentencepiece.bpe.model", "spm.model", "spiece.model", "tokenizer.model"];

/// Why a folder has no tokenizer, and what to do about it.
pub fn missing(folder: &Path) -> String {
    let has = |name: &&str| folder.join(name).is_file();
    if let Some(name) = SENTENCEPIECE.iter().find(|name| has(name)) {
        return format!(
            "this model's folder has its vocabulary as {name} only, which is not read: with 'pip install transformers sentencepiece', \
             AutoTokenizer.from_pretrained(folder).save_pretrained(folder) in Python writes tokenizer.json. Until then it takes ids only"
        );
    }
    let halves = ["vocab.json", "merges.txt"];
    if let Some(lacking) = halves.iter().find(|name| !has(name)).filter(|_| halves.iter().any(has)) {
        return format!(
            "this model's folder lacks {lacking}, half of its tokenizer: add it, or tokenizer.json. It takes ids only"
        );
    }
    "this model's folder has no tokenizer, so it takes ids only: add its tokenizer.json, or its vocab.txt with tokenizer_config.json, \
     or its vocab.json with merges.txt"
        .into()
}

impl Tokenizer {
    /// Reads `folder/tokenizer.json`, or else `folder/vocab.txt`, or else `folder/vocab.json` and `merges.txt`, with
    /// `tokenizer_config.json`; none if the folder has none of them.
    /// Its ids must be below `vocab_size`. The files go into `hasher`.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] for files that are malformed or contradict each other or the model.
    pub fn load(folder: &Path, vocab_size: usize, hasher: &mut blake3::Hasher) -> Result<Option<Self>> {
        let [json, vocab_txt, vocab_json] = ["tokenizer.json", "vocab.txt", "vocab.json"].map(|name| folder.join(name));
        let config = Config::read(folder)?;
        let (path, inner) = if json.is_file() {
            let inner = from_json(&json, &config)?;
            (json, inner)
        } else if vocab_txt.is_file() {
            (vocab_txt, vocab::load(folder, &config)?)
        } else if vocab_json.is_file() && folder.join("merges.txt").is_file() {
            (vocab_json, bpe::load(folder, &config)?)
        } else {
            return Ok(None);
        };
        let invalid = |reason: String| Error::invalid_file(&path, reason);
        let highest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        if highest as usize >= vocab_size {
            return Err(invalid(format!(
                "has ids up to {highest}, but the embedding has {vocab_size} rows (vocab_size): tokenizer and weights are not of one model"
            )));
        }
        let tokenizer = Tokenizer::new(inner).map_err(invalid)?;
        tokenizer.try_out().map_err(invalid)?;
        for file in FILES {
            if let Ok(bytes) = std::fs::read(folder.join(file)) {
                hasher.update(format!("{file} {}", bytes.len()).as_bytes()).update(&bytes);
            }
        }
        Ok(Some(tokenizer))
    }

    /// A post-processor that names tokens the vocabulary lacks shows only when it is used: the library panics then.
    fn try_out(&self) -> std::result::Result<(), String> {
        caught(|| self.inner.encode("a", true).and_then(|_| self.inner.encode(("a", "a"), true)))
            .map(drop)
            .map_err(|e| format!("cannot encode a text: {e}"))
    }
}

/// Reads a tokenizer.json. Where tokenizer_config.json says otherwise about BERT's normalizer, Transformers follows that.
fn from_json(path: &Path, config: &Config) -> Result<tokenizers::Tokenizer> {
    let bytes = std::fs::read(path).map_err(|e| Error::invalid_file(path, e))?;
    limits::check(&bytes, path)?;
    let malformed = |reason: String| Error::invalid_file(path, format!("is malformed: {reason}"));
    let mut tokenizer = caught(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(malformed)?;
    bpe::forget_words(&mut tokenizer);
    if let Some(NormalizerWrapper::BertNormalizer(file)) = tokenizer.get_normalizer() {
        let normalizer = BertNormalizer::new(
            file.clean_text,
            config.flag("tokenize_chinese_chars")?.unwrap_or(file.handle_chinese_chars),
            config.flag("strip_accents")?.or(file.strip_accents),
            config.flag("do_lower_case")?.unwrap_or(file.lowercase),
        );
        tokenizer.with_normalizer(Some(normalizer)).map_err(|e| malformed(e.to_string()))?;
    }
    Ok(tokenizer)
}
