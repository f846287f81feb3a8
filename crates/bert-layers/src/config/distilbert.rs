//! DistilBERT's `config.json`, whose names are its own.

use super::Sizes;
use super::activation::HiddenAct;
use super::json::Fields;
use crate::Result;

/// What `DistilBertConfig` of Transformers holds, as far as an encoder needs it. Whether `sinusoidal_pos_embds` once filled the
/// position table does not matter: the table is in the checkpoint.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of config.json
pub struct DistilBertConfig {
    pub vocab_size: usize,
    pub dim: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub hidden_dim: usize,
    pub activation: HiddenAct,
    pub max_position_embeddings: usize,
}

impl DistilBertConfig {
    /// It has no field for it.
    pub const LAYER_NORM_EPS: f32 = 1e-12;

    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        let config = Self {
            vocab_size: fields.count("vocab_size", 1)?,
            dim: fields.count("dim", 1)?,
            n_layers: fields.count("n_layers", 0)?,
            n_heads: fields.count("n_heads", 1)?,
            hidden_dim: fields.count("hidden_dim", 1)?,
            activation: fields.activation_or("activation", "gelu")?,
            max_position_embeddings: fields.count("max_position_embeddings", 1)?,
        };
        fields.divides(("n_heads", config.n_heads), ("dim", config.dim))?;
        Ok(config)
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            layers: self.n_layers,
            hidden: self.dim,
            heads: self.n_heads,
            vocab: self.vocab_size,
            types: 1,
            max_tokens: self.max_position_embeddings,
        }
    }
}
