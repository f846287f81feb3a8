//! MPNet's `config.json`.

use super::Sizes;
use super::bert::BertConfig;
use super::json::Fields;
use crate::Result;

/// What `MPNetConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct MpnetConfig {
    /// What it shares with BERT; it has one token type, which stands for none.
    pub bert: BertConfig,
    /// The entries of the table of relative positions.
    pub relative_attention_num_buckets: usize,
}

impl MpnetConfig {
    /// The padding id that positions start after. Transformers does not take it from config.json.
    pub const PADDING: u32 = 1;

    /// The entries that are used: Transformers does not take them from config.json either.
    pub const BUCKETS: usize = 32;

    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        let bert = BertConfig { type_vocab_size: 1, ..BertConfig::from_fields(fields)? };
        let buckets = fields.count_or("relative_attention_num_buckets", Self::BUCKETS, 1)?;
        if buckets < Self::BUCKETS {
            return Err(fields.unsupported(format!(
                "relative_attention_num_buckets {buckets} is not supported: Transformers looks up {} of them",
                Self::BUCKETS
            )));
        }
        let least = Self::PADDING as usize + 2;
        if bert.max_position_embeddings < least {
            return Err(fields.invalid(format!(
                "max_position_embeddings must be at least {least}, as positions start at 2, is {}",
                bert.max_position_embeddings
            )));
        }
        Ok(Self { bert, relative_attention_num_buckets: buckets })
    }

    pub(super) fn sizes(&self) -> Sizes {
        let sizes = self.bert.sizes();
        Sizes { max_tokens: sizes.max_tokens - Self::PADDING as usize - 1, ..sizes }
    }
}
