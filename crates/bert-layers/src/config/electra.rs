//! ELECTRA's `config.json`.

use super::Sizes;
use super::bert::BertConfig;
use super::json::Fields;
use crate::Result;

/// What `ElectraConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct ElectraConfig {
    /// What it shares with BERT.
    pub bert: BertConfig,
    /// The width of the embedding tables; they are projected where it is not that of hidden states.
    pub embedding_size: usize,
}

impl ElectraConfig {
    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        Ok(Self { bert: BertConfig::from_fields(fields)?, embedding_size: fields.count("embedding_size", 1)? })
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.bert.sizes()
    }
}
