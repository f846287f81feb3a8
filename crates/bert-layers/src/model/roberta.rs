//! RoBERTa (Liu et al. 2019), and XLM-RoBERTa and CamemBERT, which are the same: a BERT whose positions start after the padding id.

use super::bert::{self, BertModel};
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::RobertaConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What the checkpoints of all three call their tensors.
pub(super) const NAMES: NameRules = NameRules { base: "roberta", ..bert::NAMES };

/// Loads the weights.
pub(super) fn load<O: Ops>(load: Loader<'_, O>, config: &RobertaConfig, samples: &Chunk<'_>) -> Result<BertModel<O>> {
    let tables = bert::tables(&config.bert, Positions::AfterPadding(config.pad_token_id));
    bert::with_tables(load, &config.bert, &tables, samples)
}
