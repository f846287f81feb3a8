//! RoBERTa (Liu et al. 2019), and XLM-RoBERTa, CamemBERT and data2vec for text, which are the same: a BERT whose positions start
//! after the padding id.

use super::bert::{self, BertModel};
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::RobertaConfig;
use crate::ops::Ops;
use crate::weights::NameRules;

/// What their checkpoints call their tensors.
pub(super) fn names(config: &RobertaConfig) -> &'static NameRules {
    const ROBERTA: NameRules = NameRules { base: "roberta", ..bert::NAMES };
    const DATA2VEC: NameRules = NameRules { base: "data2vec_text", ..bert::NAMES };
    if config.model_type == "data2vec-text" { &DATA2VEC } else { &ROBERTA }
}

/// Loads the weights.
pub(super) fn load<O: Ops>(load: Loader<'_, O>, config: &RobertaConfig, samples: &Chunk<'_>) -> Result<BertModel<O>> {
    let tables = bert::tables(&config.bert, Positions::AfterPadding(config.pad_token_id));
    bert::with_tables(load, &config.bert, &tables, samples)
}
