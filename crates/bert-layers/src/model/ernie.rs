//! ERNIE (Sun et al. 2019 and later): a BERT that may have a table of tasks. As in Transformers, a text is of task 0.

use super::bert::{self, BertModel};
use super::embeddings::Index;
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::ErnieConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What ERNIE's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules { base: "ernie", ..bert::NAMES };

/// Loads the weights.
pub(super) fn load<O: Ops>(load: Loader<'_, O>, config: &ErnieConfig, samples: &Chunk<'_>) -> Result<BertModel<O>> {
    let mut tables = bert::tables(&config.bert, Positions::FromZero).to_vec();
    tables.extend(config.task_type_vocab_size.map(|tasks| ("task_type_embeddings", tasks, Index::First)));
    bert::with_tables(load, &config.bert, &tables, samples)
}
