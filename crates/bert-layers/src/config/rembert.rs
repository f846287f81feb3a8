//! RemBERT's `config.json`.

use super::Sizes;
use super::bert::BertConfig;
use super::json::Fields;
use crate::Result;

/// What `RemBertConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct RemBertConfig {
    /// What it shares with BERT.
    pub bert: BertConfig,
    /// The width of the embedding tables, which are projected to that of hidden states.
    pub input_embedding_size: usize,
}

impl RemBertConfig {
    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        Ok(Self {
            bert: BertConfig::from_fields(fields)?,
            input_embedding_size: fields.count("input_embedding_size", 1)?,
        })
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.bert.sizes()
    }
}
