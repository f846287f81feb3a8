//! The pooler that many checkpoints have: tanh(W · h_L[0] + b), of each text's first token.

use bert_layers_kernels::Activation;

use super::load::Loader;
use crate::Result;
use crate::batch::Chunk;
use crate::ops::{For, Ops};
use crate::sink::Sink;

/// A square layer on the last hidden state of each text's first token.
pub(super) struct Pooler<O: Ops> {
    dense: O::Linear,
}

impl<O: Ops> Pooler<O> {
    /// The pooler of this name, if the checkpoint has it.
    pub fn load(load: &mut Loader<'_, O>, name: &str, size: usize) -> Result<Option<Self>> {
        match load.weights.has(&format!("{name}.weight")) {
            true => Ok(Some(Self { dense: load.head(name, size, size)? })),
            false => Ok(None),
        }
    }

    /// Computes it for those texts that `sink` wants it of.
    pub fn forward(&self, ops: &O, chunk: &Chunk<'_>, last: &O::Rows<'_>, sink: &mut Sink<'_>) -> Result<()> {
        let first: Vec<usize> = sink.pooled().into_iter().map(|text| chunk.texts[text].start).collect();
        if first.is_empty() {
            return Ok(());
        }
        let output = ops.linear(&ops.select(last, &first)?, &self.dense, Activation::Tanh, For::Anybody)?;
        sink.put_pooler(&ops.read(&output)?)
    }
}
