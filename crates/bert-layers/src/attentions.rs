//! Attention weights: one buffer `[layer][text][head][query][key]`, allocated once at its exact size.

use std::ops::Range;

use bert_layers_kernels::{AllocError, try_zeroed};

use crate::Tokens;

/// The attention weights of blocks, packed: a text of n tokens has n × n for each head.
#[derive(Debug, Clone, PartialEq)]
pub struct Attentions {
    data: Vec<f32>,
    shape: Shape,
}

/// Which attention weights are kept, and where they lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    layers: Vec<usize>,
    heads: usize,
    /// Where each text's weights start within a layer, and at the end the size of a layer.
    starts: Vec<usize>,
}

impl Shape {
    /// Those of `layers` that are blocks'.
    pub fn new(tokens: &Tokens, layers: &[usize], heads: usize) -> Self {
        let mut starts = vec![0];
        let mut end: usize = 0;
        for text in 0..tokens.texts() {
            // What does not fit into a number does not fit into memory, which is what allocating it will say.
            end = end.saturating_add(heads.saturating_mul(tokens.rows(text).len().saturating_pow(2)));
            starts.push(end);
        }
        // Layer 0 is the embedding output, which no attention has made.
        Self { layers: layers.iter().copied().filter(|&layer| layer > 0).collect(), heads, starts }
    }

    fn layer(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn len(&self) -> usize {
        self.layers.len().saturating_mul(self.layer())
    }

    pub fn bytes(&self) -> u64 {
        (self.len() as u64).saturating_mul(size_of::<f32>() as u64)
    }
}

impl Attentions {
    /// Room for them, all zero.
    ///
    /// # Errors
    /// [`AllocError`]
    pub(crate) fn allocate(shape: Shape) -> Result<Self, AllocError> {
        Ok(Self { data: try_zeroed(shape.len())?, shape })
    }

    /// For each of these runs of texts, which are ascending, its weights in each layer.
    pub(crate) fn parts(&mut self, runs: &[Range<usize>]) -> Vec<Vec<(usize, &mut [f32])>> {
        let Self { data, shape } = self;
        let mut parts: Vec<Vec<_>> = runs.iter().map(|_| Vec::with_capacity(shape.layers.len())).collect();
        for (&layer, mut rest) in shape.layers.iter().zip(data.chunks_mut(shape.layer().max(1))) {
            let mut at = 0;
            for (part, run) in parts.iter_mut().zip(runs) {
                let (start, end) = (shape.starts[run.start], shape.starts[run.end]);
                let _of_other_runs = rest.split_off_mut(..start - at);
                part.push((layer, rest.split_off_mut(..end - start).unwrap_or_default()));
                at = end;
            }
        }
        parts
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
        &self.shape.layers
    }

    /// One head's weights in one text, `[query][key]`: each row adds up to 1, and a token that is masked has 0 in it. None for
    /// a layer, head or text that is not there.
    pub fn get(&self, layer: usize, head: usize, text: usize) -> Option<&[f32]> {
        let Self { data, shape } = self;
        let at = shape.layers.iter().position(|&kept| kept == layer)?;
        let (&start, &end) = (shape.starts.get(text)?, shape.starts.get(text + 1)?);
        let layer = &data[at * shape.layer()..];
        let size = (end - start) / shape.heads;
        (head < shape.heads).then(|| &layer[start + head * size..start + (head + 1) * size])
    }
}
