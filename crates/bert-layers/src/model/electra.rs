//! ELECTRA (Clark et al. 2020), discriminator or generator: BERT's blocks after an embedding that may be narrower than they are.
//! It has no pooler.

use super::bert::{self, BertModel};
use super::embeddings::Embeddings;
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::ElectraConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What ELECTRA's checkpoints call their tensors.
pub(super) const NAMES: NameRules =
    NameRules { base: "electra", rooms: &["embeddings.", "embeddings_project.", "encoder."], ..bert::NAMES };

/// Loads the weights.
pub(super) fn load<O: Ops>(
    mut load: Loader<'_, O>,
    config: &ElectraConfig,
    samples: &Chunk<'_>,
) -> Result<BertModel<O>> {
    let ElectraConfig { bert, embedding_size: width } = config;
    let tables = bert::tables(bert, Positions::FromZero);
    let mut embeddings = Embeddings::load(&mut load, &tables, *width, bert.layer_norm_eps)?;
    if *width != bert.hidden_size {
        embeddings = embeddings.projected(&mut load, "embeddings_project", *width, bert.hidden_size)?;
    }
    BertModel::load(load, embeddings, &bert::blocks(bert), None, samples)
}
