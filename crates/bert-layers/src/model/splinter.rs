//! Splinter (Ram et al. 2021): a BERT without a pooler.

use super::bert::{self, BertModel};
use super::embeddings::Embeddings;
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::BertConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What Splinter's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules { base: "splinter", rooms: &["embeddings.", "encoder."], ..bert::NAMES };

/// Loads the weights.
pub(super) fn load<O: Ops>(mut load: Loader<'_, O>, config: &BertConfig, samples: &Chunk<'_>) -> Result<BertModel<O>> {
    let tables = bert::tables(config, Positions::FromZero);
    let embeddings = Embeddings::load(&mut load, &tables, config.hidden_size, config.layer_norm_eps)?;
    BertModel::load(load, embeddings, &bert::blocks(config), None, samples)
}
