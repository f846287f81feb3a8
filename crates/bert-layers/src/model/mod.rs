//! The math of each family, written once against [`Ops`]: a function of the operations, a chunk of the packed batch,
//! and a sink of rows per layer. How chunks meet threads is not its business.

mod bert;

use crate::batch::{Chunk, PackedBatch};
use crate::config::ModelConfig;
use crate::ops::Ops;
use crate::sink::Sink;
use crate::weights::{Summary, Weights};
use crate::{Cancel, Result, Tokens};

use std::path::Path;

/// A model whose weights are loaded for `O`.
pub trait Model<O: Ops>: Send + Sync {
    /// Runs a chunk up to the deepest layer that `sink` wants, handing each layer its rows.
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, sink: Sink<'_>) -> Result<()>;

    /// Whether the checkpoint has a pooler.
    fn has_pooler(&self) -> bool;
}

/// Loads the weights of `folder` for `ops`; `samples` are typical texts, for those operations that want to see some.
pub fn load<O: Ops + 'static>(
    ops: &O,
    config: &ModelConfig,
    folder: &Path,
    samples: &Tokens,
    cancel: &Cancel,
) -> Result<(Box<dyn Model<O>>, Summary)> {
    let batch = PackedBatch::new(samples);
    let all = 0..batch.texts();
    let ranges = batch.ranges(&all);
    let samples = batch.chunk(&all, &ranges);
    match config {
        ModelConfig::Bert(config) => {
            let mut weights = Weights::open(folder, "bert", "embeddings.word_embeddings.weight", cancel.clone())?;
            let model = bert::BertModel::load(ops, config, &mut weights, &samples)?;
            let summary = weights.finish(&["embeddings.", "encoder.", "pooler."], &["embeddings.position_ids"])?;
            Ok((Box::new(model), summary))
        }
    }
}
