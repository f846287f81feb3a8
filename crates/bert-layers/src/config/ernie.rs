//! ERNIE's `config.json`.

use super::Sizes;
use super::bert::BertConfig;
use super::json::Fields;
use crate::Result;

/// What `ErnieConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct ErnieConfig {
    /// What it shares with BERT.
    pub bert: BertConfig,
    /// The entries of the table of task types, where it has one (`use_task_id`).
    pub task_type_vocab_size: Option<usize>,
}

impl ErnieConfig {
    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        let task_type_vocab_size = match fields.flag("use_task_id")? {
            true => Some(fields.count_or("task_type_vocab_size", 3, 1)?),
            false => None,
        };
        Ok(Self { bert: BertConfig::from_fields(fields)?, task_type_vocab_size })
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.bert.sizes()
    }
}
