//! ALBERT's `config.json`.

use super::Sizes;
use super::bert::BertConfig;
use super::json::Fields;
use crate::Result;

/// What `AlbertConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlbertConfig {
    /// What it shares with BERT.
    pub bert: BertConfig,
    /// The width of the embedding tables, which are projected to that of hidden states.
    pub embedding_size: usize,
    /// How many blocks the layers share: runs of layers are the same block.
    pub num_hidden_groups: usize,
}

impl AlbertConfig {
    /// More layers than this are taken for damage: as they share their weights, no file shows that they are meant.
    const MOST_LAYERS: usize = 4096;

    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        let bert = BertConfig::with_default_act(fields, "gelu_new")?;
        if bert.num_hidden_layers > Self::MOST_LAYERS {
            let layers = bert.num_hidden_layers;
            return Err(fields.invalid(format!("num_hidden_layers {layers} is more than {}", Self::MOST_LAYERS)));
        }
        let num_hidden_groups = fields.count_or("num_hidden_groups", 1, 1)?;
        if num_hidden_groups > bert.num_hidden_layers {
            return Err(fields.invalid(format!(
                "num_hidden_groups {num_hidden_groups} is more than num_hidden_layers {}",
                bert.num_hidden_layers
            )));
        }
        match fields.count_or("inner_group_num", 1, 1)? {
            1 => {}
            inner => {
                return Err(fields.unsupported(format!(
                    "inner_group_num {inner} is not supported, only 1: what its layers are differs between versions of Transformers"
                )));
            }
        }
        Ok(Self { bert, embedding_size: fields.count("embedding_size", 1)?, num_hidden_groups })
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.bert.sizes()
    }
}
