//! Attention weights: one buffer `[layer][text][head][query][key]`, allocated once at its exact size.

use std::ops::Range;

use crate::{Error, Result, Tokens};

/// The attention weights of blocks, packed: a text of n tokens has n × n for each head.
#[derive(Debug, Clone, PartialEq)]
pub struct Attentions {
    data: Vec<f32>,
    layers: Vec<usize>,
    heads: usize,
    /// Where each text's weights start within a layer, and at the end the size of a layer.
    starts: Vec<usize>,
}

impl Attentions {
    /// What the attentions of these layers take, in bytes.
    pub(crate) fn bytes(tokens: &Tokens, layers: &[usize], heads: usize) -> u64 {
        let squares = (0..tokens.texts()).map(|text| (tokens.rows(text).len() as u64).pow(2));
        let of_layer = squares.fold(0, u64::saturating_add).saturating_mul(heads as u64);
        of_layer.saturating_mul(blocks(layers).count() as u64).saturating_mul(size_of::<f32>() as u64)
    }

    /// Room for those of `layers` that are blocks', all zero.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]
    pub(crate) fn allocate(tokens: &Tokens, layers: &[usize], heads: usize) -> Result<Self> {
        let layers: Vec<usize> = blocks(layers).collect();
        let mut starts = Vec::with_capacity(tokens.texts() + 1);
        let mut end = 0;
        starts.push(end);
        for text in 0..tokens.texts() {
            end += heads * tokens.rows(text).len().pow(2);
            starts.push(end);
        }
        let no_room = |e: bert_layers_kernels::AllocError| Error::OutOfMemory {
            what: "the result with its attentions",
            bytes: e.bytes as u64,
        };
        Ok(Self { data: bert_layers_kernels::try_zeroed(layers.len() * end).map_err(no_room)?, layers, heads, starts })
    }

    /// For each layer, the weights of each of these runs of texts, which are all texts.
    pub(crate) fn parts(&mut self, runs: &[Range<usize>]) -> Vec<(usize, Vec<&mut [f32]>)> {
        let mut rest = self.data.as_mut_slice();
        let mut part = |run: &Range<usize>| {
            let size = self.starts[run.end] - self.starts[run.start];
            rest.split_off_mut(..size).unwrap_or_default()
        };
        self.layers.iter().map(|&layer| (layer, runs.iter().map(&mut part).collect())).collect()
    }

    /// Everything: `[layer][text][head][query][key]`.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The buffer itself.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The layers in the order asked for, without 0: layer k's weights are those of block k, with which it computes hidden state k.
    /// Hugging Face has them in `attentions[k - 1]`.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// One head's weights in one text, `[query][key]`: each row adds up to 1, and a token that is masked has 0 in it. None for
    /// a layer, head or text that is not there.
    pub fn get(&self, layer: usize, head: usize, text: usize) -> Option<&[f32]> {
        let at = self.layers.iter().position(|&kept| kept == layer)?;
        let (&start, &end) = (self.starts.get(text)?, self.starts.get(text + 1)?);
        let layer = &self.data[at * self.starts[self.starts.len() - 1]..];
        let size = (end - start) / self.heads;
        (head < self.heads).then(|| &layer[start + head * size..start + (head + 1) * size])
    }
}

/// Layer 0 is the embedding output, which no attention has made.
fn blocks(layers: &[usize]) -> impl Iterator<Item = usize> {
    layers.iter().copied().filter(|&layer| layer > 0)
}
