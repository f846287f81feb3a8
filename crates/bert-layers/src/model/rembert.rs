//! RemBERT (Chung et al. 2021): BERT's blocks after an embedding that is narrower than they are.

use super::bert::{self, BertModel};
use super::embeddings::Embeddings;
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::RemBertConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What RemBERT's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules { base: "rembert", ..bert::NAMES };

/// Loads the weights.
pub(super) fn load<O: Ops>(
    mut load: Loader<'_, O>,
    config: &RemBertConfig,
    samples: &Chunk<'_>,
) -> Result<BertModel<O>> {
    let RemBertConfig { bert, input_embedding_size: width } = config;
    let tables = bert::tables(bert, Positions::FromZero);
    let embeddings = Embeddings::load(&mut load, &tables, *width, bert.layer_norm_eps)?;
    let projection = "encoder.embedding_hidden_mapping_in";
    let embeddings = embeddings.projected(&mut load, projection, *width, bert.hidden_size)?;
    BertModel::load(load, embeddings, &bert::blocks(bert), Some("pooler.dense"), samples)
}
