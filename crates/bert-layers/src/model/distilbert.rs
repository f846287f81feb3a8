//! DistilBERT (Sanh et al. 2019): BERT's blocks with names of their own, no token types, no pooler.

use super::bert::{BertModel, BlockNames, Blocks};
use super::embeddings::{Embeddings, Index};
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::DistilBertConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What DistilBERT's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules {
    base: "distilbert",
    anchor: "embeddings.word_embeddings.weight",
    rooms: &["embeddings.", "transformer."],
    ignored: &["embeddings.position_ids"],
    aliases: &[],
};

/// What it calls the parts of `transformer.layer.N`.
const BLOCK: BlockNames = BlockNames {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_layer_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    intermediate_act: "ffn.activation",
    output: "ffn.lin2",
    layer_norm: "output_layer_norm",
};

/// Loads the weights.
pub(super) fn load<O: Ops>(
    mut load: Loader<'_, O>,
    config: &DistilBertConfig,
    samples: &Chunk<'_>,
) -> Result<BertModel<O>> {
    let tables = [
        ("word_embeddings", config.vocab_size, Index::Id),
        ("position_embeddings", config.max_position_embeddings, Index::Position(Positions::FromZero)),
    ];
    let embeddings = Embeddings::load(&mut load, &tables, config.dim, DistilBertConfig::LAYER_NORM_EPS)?;
    let blocks = Blocks {
        layers: config.n_layers,
        groups: config.n_layers,
        at: |block| format!("transformer.layer.{block}"),
        names: &BLOCK,
        hidden: config.dim,
        heads: config.n_heads,
        intermediate: config.hidden_dim,
        act: config.activation,
        eps: DistilBertConfig::LAYER_NORM_EPS,
        bias: None,
    };
    BertModel::load(load, embeddings, &blocks, None, samples)
}
