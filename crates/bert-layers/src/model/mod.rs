//! The math of each family, written once against [`Ops`]: a function of the operations, a chunk of the packed batch,
//! and a sink of rows per layer. How chunks meet threads is not its business.

mod bert;
mod load;
mod pooler;
mod stack;

use crate::batch::{Chunk, PackedBatch};
use crate::config::ModelConfig;
use crate::ops::Ops;
use crate::sink::Sink;
use crate::weights::{NameRules, Summary, Weights};
use crate::{Cancel, Result, Tokens};

use std::path::Path;
use std::sync::Arc;

use bert_layers_kernels::Crew;

/// A model whose weights are loaded for `O`.
pub trait Model<O: Ops>: Send + Sync {
    /// Runs a chunk up to the deepest layer that `sink` wants, handing each layer its rows.
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, sink: Sink<'_>) -> Result<()>;

    /// Whether the checkpoint has a pooler.
    fn has_pooler(&self) -> bool;
}

/// Loads the weights of `folder` for `ops` with the threads of `crew`; `samples` are typical texts, for those operations that want to see some.
pub fn load<O: Ops + 'static>(
    ops: &O,
    config: &ModelConfig,
    folder: &Path,
    samples: &Tokens,
    crew: &Arc<Crew>,
    cancel: &Cancel,
) -> Result<(Box<dyn Model<O>>, Summary)> {
    let batch = PackedBatch::new(samples);
    let all = 0..batch.texts();
    let ranges = batch.ranges(&all);
    let samples = batch.chunk(&all, &ranges);
    let mut weights = Weights::open(folder, name_rules(config), crew.clone(), cancel.clone())?;
    let load = load::Loader { ops, weights: &mut weights };
    let model: Box<dyn Model<O>> = match config {
        ModelConfig::Bert(config) => Box::new(bert::BertModel::load(load, config, &samples)?),
    };
    Ok((model, weights.finish()?))
}

/// What a family's checkpoints call their tensors.
pub(crate) fn name_rules(config: &ModelConfig) -> &'static NameRules {
    match config {
        ModelConfig::Bert(_) => &bert::NAMES,
    }
}
