//! The math of each family, written once against [`Ops`]: a function of the operations, a chunk of the packed batch,
//! and a sink of rows per layer. How chunks meet threads is not its business.

mod albert;
mod bert;
mod deberta;
mod distances;
mod distilbert;
mod electra;
mod embeddings;
mod ernie;
mod give;
mod load;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod pooler;
mod positions;
mod rembert;
mod roberta;
mod splinter;
mod stack;

use crate::batch::{Chunk, PackedBatch};
use crate::config::ModelConfig;
use crate::last_layer::LastLayer;
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
    last_layer: LastLayer,
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
        ModelConfig::Bert(config) => Box::new(bert::load(load, config, &samples)?),
        ModelConfig::Roberta(config) => Box::new(roberta::load(load, config, &samples)?),
        ModelConfig::Deberta(config) => Box::new(deberta::DebertaModel::load(load, config, &samples)?),
        ModelConfig::DistilBert(config) => Box::new(distilbert::load(load, config, &samples)?),
        ModelConfig::Electra(config) => Box::new(electra::load(load, config, &samples)?),
        ModelConfig::Ernie(config) => Box::new(ernie::load(load, config, &samples)?),
        ModelConfig::Albert(config) => Box::new(albert::load(load, config, &samples)?),
        ModelConfig::Mpnet(config) => Box::new(mpnet::load(load, config, &samples)?),
        ModelConfig::RemBert(config) => Box::new(rembert::load(load, config, &samples)?),
        ModelConfig::Splinter(config) => Box::new(splinter::load(load, config, &samples)?),
        ModelConfig::ModernBert(config) => {
            Box::new(modernbert::ModernBertModel::load(load, config, last_layer, &samples)?)
        }
        ModelConfig::NomicBert(config) => Box::new(nomic_bert::NomicBertModel::load(load, config, &samples)?),
    };
    Ok((model, weights.finish()?))
}

/// What a family's checkpoints call their tensors.
pub(crate) fn name_rules(config: &ModelConfig) -> &'static NameRules {
    match config {
        ModelConfig::Bert(_) => &bert::NAMES,
        ModelConfig::Roberta(config) => roberta::names(config),
        ModelConfig::DistilBert(_) => &distilbert::NAMES,
        ModelConfig::Electra(_) => &electra::NAMES,
        ModelConfig::Ernie(_) => &ernie::NAMES,
        ModelConfig::Albert(_) => &albert::NAMES,
        ModelConfig::Mpnet(_) => &mpnet::NAMES,
        ModelConfig::RemBert(_) => &rembert::NAMES,
        ModelConfig::Splinter(_) => &splinter::NAMES,
        ModelConfig::Deberta(_) => &deberta::NAMES,
        ModelConfig::ModernBert(_) => &modernbert::NAMES,
        ModelConfig::NomicBert(config) if config.base_model_prefix == "bert" => &nomic_bert::REMOTE_NAMES,
        ModelConfig::NomicBert(_) => &nomic_bert::NAMES,
    }
}
