//! Words as rows.

use bert_layers::{Error, Result, WordPool, Words};
use napi::bindgen_prelude::Uint32Array;
use napi_derive::napi;

/// The words of all texts end to end, in columns; see ts/binding.ts.
#[napi(object, object_from_js = false)]
pub struct NativeWords {
    pub starts: Uint32Array,
    pub word_ids: Uint32Array,
    pub sequence_ids: Uint32Array,
    pub tokens: Uint32Array,
}

impl From<Words> for NativeWords {
    fn from(words: Words) -> Self {
        let tokens = words.tokens.into_iter().flat_map(|tokens| [tokens.start as u32, tokens.end as u32]);
        Self {
            starts: Uint32Array::new(words.starts.into_iter().map(|start| start as u32).collect()),
            word_ids: Uint32Array::new(words.word_ids),
            sequence_ids: Uint32Array::new(words.sequence_ids),
            tokens: Uint32Array::new(tokens.collect()),
        }
    }
}

/// How a word's tokens become its row.
pub fn word_pool(name: &str) -> Result<WordPool> {
    match name {
        "first" => Ok(WordPool::First),
        "last" => Ok(WordPool::Last),
        "mean" => Ok(WordPool::Mean),
        "max" => Ok(WordPool::Max),
        other => Err(Error::InvalidInput(format!("there is no way '{other}' to make words of tokens"))),
    }
}
