//! The pooler that many checkpoints have: tanh(W · h_L[0] + b), of each text's first token.

use bert_layers_kernels::Activation;

use super::load::Loader;
use super::stack::Last;
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
    pub fn forward(&self, ops: &O, chunk: &Chunk<'_>, last: &Last<O::Rows<'_>>, sink: &mut Sink<'_>) -> Result<()> {
        let firsts = sink.pooled().into_iter().map(|text| chunk.texts[text].start);
        // Rows of the chunk → rows of what was computed of it, in ascending order.
        let place = |row| last.rows.as_ref().map_or(row, |rows| rows.partition_point(|&other| other < row));
        let first: Vec<usize> = firsts.map(place).collect();
        if first.is_empty() {
            return Ok(());
        }
        let output = ops.linear(&ops.select(&last.hidden, &first)?, &self.dense, Activation::Tanh, For::Anybody)?;
        sink.put_pooler(&ops.read(&output)?)
    }
}
