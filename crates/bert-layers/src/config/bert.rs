//! BERT's `config.json`.

use super::Sizes;
use super::activation::HiddenAct;
use super::json::Fields;
use crate::Result;

/// What `BertConfig` of Transformers holds, as far as an encoder needs it. The sizes must be there;
/// what Transformers never writes by itself has its defaults.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of config.json
pub struct BertConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: HiddenAct,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
}

impl BertConfig {
    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        Self::with_default_act(fields, "gelu")
    }

    /// The fields of a family whose activation is another where none is named.
    pub(super) fn with_default_act(fields: &Fields, default_act: &str) -> Result<Self> {
        if fields.flag("is_decoder")? || fields.flag("add_cross_attention")? {
            return Err(
                fields.unsupported("is_decoder and add_cross_attention describe a decoder, only encoders are run")
            );
        }
        match fields.string_or("position_embedding_type", "absolute")? {
            "absolute" => {}
            other => {
                return Err(
                    fields.unsupported(format!("position_embedding_type '{other}' is not supported, only 'absolute'"))
                );
            }
        }
        let config = Self {
            vocab_size: fields.count("vocab_size", 1)?,
            hidden_size: fields.count("hidden_size", 1)?,
            num_hidden_layers: fields.count("num_hidden_layers", 0)?,
            num_attention_heads: fields.count("num_attention_heads", 1)?,
            intermediate_size: fields.count("intermediate_size", 1)?,
            hidden_act: fields.activation_or("hidden_act", default_act)?,
            max_position_embeddings: fields.count("max_position_embeddings", 1)?,
            type_vocab_size: fields.count_or("type_vocab_size", 2, 1)?,
            layer_norm_eps: fields.number_or("layer_norm_eps", 1e-12)? as f32,
        };
        fields.divides(("num_attention_heads", config.num_attention_heads), ("hidden_size", config.hidden_size))?;
        Ok(config)
    }
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            vocab: self.vocab_size,
            types: self.type_vocab_size,
            max_tokens: self.max_position_embeddings,
        }
    }
}
