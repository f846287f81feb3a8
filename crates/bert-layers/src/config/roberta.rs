//! The `config.json` of RoBERTa, XLM-RoBERTa, CamemBERT and data2vec for text.

use super::Sizes;
use super::bert::BertConfig;
use super::json::Fields;
use crate::Result;

/// What `RobertaConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct RobertaConfig {
    /// Which of them it is; they differ in nothing else.
    pub model_type: &'static str,
    /// What it shares with BERT.
    pub bert: BertConfig,
    /// The id whose tokens have that id for their position; the other positions start after it.
    pub pad_token_id: u32,
}

impl RobertaConfig {
    pub(super) fn from_fields(model_type: &'static str, fields: &Fields) -> Result<Self> {
        let bert = BertConfig::from_fields(fields)?;
        let pad_token_id = fields.count_or("pad_token_id", 1, 0)?;
        if pad_token_id + 1 >= bert.max_position_embeddings {
            return Err(fields.invalid(format!(
                "positions start after pad_token_id {pad_token_id}, which max_position_embeddings {} leaves no room for",
                bert.max_position_embeddings
            )));
        }
        Ok(Self { model_type, bert, pad_token_id: pad_token_id as u32 })
    }

    pub(super) fn sizes(&self) -> Sizes {
        let sizes = self.bert.sizes();
        Sizes { max_tokens: sizes.max_tokens - self.pad_token_id as usize - 1, ..sizes }
    }
}
