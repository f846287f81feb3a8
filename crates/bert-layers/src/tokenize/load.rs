//! Which tokenizer a folder has.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};

use super::config::Config;
use super::{Tokenizer, vocab};
use crate::{Error, Result};

impl Tokenizer {
    /// Reads `folder/tokenizer.json`, or else `folder/vocab.txt` with `tokenizer_config.json`; none if the folder has neither.
    /// What was read goes into `hasher`.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] for files that are malformed or contradict each other.
    pub fn load(folder: &Path, hasher: &mut blake3::Hasher) -> Result<Option<Self>> {
        let (json, vocab_txt) = (folder.join("tokenizer.json"), folder.join("vocab.txt"));
        let (path, inner) = if json.is_file() {
            let inner = from_json(&json, &Config::read(folder)?)?;
            (json, inner)
        } else if vocab_txt.is_file() {
            let inner = vocab::load(folder, &Config::read(folder)?)?;
            (vocab_txt, inner)
        } else {
            return Ok(None);
        };
        let tokenizer = Tokenizer::new(inner).map_err(|reason| Error::invalid_file(&path, reason))?;
        let text = tokenizer.inner.to_string(false).map_err(|e| Error::invalid_file(&path, e))?;
        hasher.update(text.as_bytes());
        Ok(Some(tokenizer))
    }
}

/// Reads a tokenizer.json. Where tokenizer_config.json says otherwise about BERT's normalizer, Transformers follows that.
fn from_json(path: &Path, config: &Config) -> Result<tokenizers::Tokenizer> {
    let bytes = std::fs::read(path).map_err(|e| Error::invalid_file(path, e))?;
    let malformed = |reason: String| Error::invalid_file(path, format!("is malformed: {reason}"));
    // The library answers some malformed files with a panic.
    let mut tokenizer = catch_unwind(AssertUnwindSafe(|| tokenizers::Tokenizer::from_bytes(&bytes)))
        .map_err(|_| malformed("the tokenizers library gave up on it".into()))?
        .map_err(|e| malformed(e.to_string()))?;
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
