//! ALBERT (Lan et al. 2020): layers that share blocks, after an embedding that is narrower than they are.

use super::bert::{self, BertModel, BlockNames, Blocks};
use super::embeddings::Embeddings;
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::AlbertConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What ALBERT's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules { base: "albert", ..bert::NAMES };

/// What it calls the parts of `encoder.albert_layer_groups.N.albert_layers.0`.
const BLOCK: BlockNames = BlockNames {
    query: "attention.query",
    key: "attention.key",
    value: "attention.value",
    attention_output: "attention.dense",
    attention_layer_norm: "attention.LayerNorm",
    intermediate: "ffn",
    intermediate_act: "activation",
    output: "ffn_output",
    layer_norm: "full_layer_layer_norm",
};

/// Loads the weights.
pub(super) fn load<O: Ops>(
    mut load: Loader<'_, O>,
    config: &AlbertConfig,
    samples: &Chunk<'_>,
) -> Result<BertModel<O>> {
    let AlbertConfig { bert, embedding_size: width, num_hidden_groups } = config;
    let tables = bert::tables(bert, Positions::FromZero);
    let embeddings = Embeddings::load(&mut load, &tables, *width, bert.layer_norm_eps)?;
    let projection = "encoder.embedding_hidden_mapping_in";
    let embeddings = embeddings.projected(&mut load, projection, *width, bert.hidden_size)?;
    let blocks = Blocks {
        groups: *num_hidden_groups,
        at: |block| format!("encoder.albert_layer_groups.{block}.albert_layers.0"),
        names: &BLOCK,
        ..bert::blocks(bert)
    };
    BertModel::load(load, embeddings, &blocks, Some("pooler"), samples)
}
