//! The result: one buffer `[layer][token][hidden]`, allocated once at its exact size.

use std::ops::Range;

use crate::attentions::Attentions;
use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::memory::{self, Promise};
use crate::{Error, Result, Tokens};

/// Every kept layer's hidden state of every token. The buffer is exactly as large as its contents, so it can be handed on
/// without a copy.
#[derive(Debug, Clone, PartialEq)]
pub struct HiddenStates {
    data: Vec<f32>,
    layers: Vec<usize>,
    hidden_size: usize,
    tokens: Tokens,
    pooler_output: Option<Vec<f32>>,
    attentions: Option<Attentions>,
}

/// A [`HiddenStates`] taken apart, to hand its buffers on.
#[derive(Debug)]
pub struct Parts {
    /// `[layer][token of all texts][hidden]`.
    pub data: Vec<f32>,
    /// Layer numbers, in the order asked for.
    pub layers: Vec<usize>,
    /// The tokens of all texts.
    pub tokens: Tokens,
    /// `[text][hidden]`, when the pooler was asked for.
    pub pooler_output: Option<Vec<f32>>,
    /// The attention weights, when they were asked for.
    pub attentions: Option<Attentions>,
}

impl HiddenStates {
    /// Everything: `[layer][token of all texts][hidden]`.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The kept layers' numbers, in the order asked for: 0 is the embedding output, k the output of block k.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// The width of a hidden state.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// The tokens of all texts.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The pooler's output `[text][hidden]`, when it was asked for.
    pub fn pooler_output(&self) -> Option<&[f32]> {
        self.pooler_output.as_deref()
    }

    /// The attention weights of the kept blocks, when they were asked for.
    pub fn attentions(&self) -> Option<&Attentions> {
        self.attentions.as_ref()
    }

    /// One layer `[token of all texts][hidden]`; none if it was not kept.
    pub fn layer(&self, layer: usize) -> Option<&[f32]> {
        let at = self.layers.iter().position(|&kept| kept == layer)?;
        let size = self.tokens.len() * self.hidden_size;
        Some(&self.data[at * size..(at + 1) * size])
    }

    /// One text at one layer `[token][hidden]`; none if the layer was not kept or there is no such text.
    pub fn get(&self, layer: usize, text: usize) -> Option<&[f32]> {
        if text >= self.tokens.texts() {
            return None;
        }
        let rows = self.tokens.rows(text);
        Some(&self.layer(layer)?[rows.start * self.hidden_size..rows.end * self.hidden_size])
    }

    /// One token's hidden state; none if the layer was not kept or there is no such text or token.
    pub fn token(&self, layer: usize, text: usize, token: usize) -> Option<&[f32]> {
        self.get(layer, text)?.chunks_exact(self.hidden_size).nth(token)
    }

    /// The buffers themselves.
    pub fn into_parts(self) -> Parts {
        let Self { data, layers, tokens, pooler_output, attentions, .. } = self;
        Parts { data, layers, tokens, pooler_output, attentions }
    }
}

/// The result's memory while it is being written.
pub(crate) struct Output {
    data: Vec<f32>,
    layers: Vec<usize>,
    num_layers: usize,
    hidden_size: usize,
    pooler_output: Option<Vec<f32>>,
    attentions: Option<Attentions>,
    _promise: Promise,
}

impl Output {
    /// Room for `layers` of `tokens`, all zero.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the memory that the process may still use is less.
    pub fn allocate(
        tokens: &Tokens,
        layers: Vec<usize>,
        config: &ModelConfig,
        pooler: bool,
        attentions: bool,
    ) -> Result<Self> {
        let hidden_size = config.hidden_size();
        let pooled = if pooler { tokens.texts() } else { 0 };
        let rows = layers.len() as u64 * tokens.len() as u64 + pooled as u64;
        let bytes = rows.saturating_mul(hidden_size as u64).saturating_mul(size_of::<f32>() as u64);
        let heads = config.num_heads();
        let bytes = bytes.saturating_add(if attentions { Attentions::bytes(tokens, &layers, heads) } else { 0 });
        let what = if attentions { "the result with its attentions" } else { "the result" };
        let no_room = || Error::OutOfMemory { what, bytes };
        let promise = memory::promise(bytes).map_err(|_| no_room())?;
        let zeroed = |rows: usize| bert_layers_kernels::try_zeroed(rows * hidden_size).map_err(|_| no_room());
        Ok(Self {
            data: zeroed(layers.len() * tokens.len())?,
            pooler_output: if pooler { Some(zeroed(pooled)?) } else { None },
            attentions: if attentions { Some(Attentions::allocate(tokens, &layers, heads)?) } else { None },
            layers,
            num_layers: config.num_layers(),
            hidden_size,
            _promise: promise,
        })
    }

    /// One sink for each run of texts; together they are the whole result.
    pub fn sinks(&mut self, batch: &PackedBatch<'_>, runs: &[Range<usize>]) -> Vec<Sink<'_>> {
        let deepest = match self.pooler_output {
            Some(_) => self.num_layers,
            None => self.layers.iter().copied().max().unwrap_or(0),
        };
        let nothing = || (0..=self.num_layers).map(|_| None).collect();
        let sink = |_| Sink { layers: nothing(), deepest, pooler: None, attentions: nothing() };
        let mut sinks: Vec<Sink> = runs.iter().map(sink).collect();
        let mut rest = self.data.as_mut_slice();
        for &layer in &self.layers {
            for (sink, texts) in sinks.iter_mut().zip(runs) {
                sink.layers[layer] = rest.split_off_mut(..batch.rows(texts).len() * self.hidden_size);
            }
        }
        if let Some(mut rest) = self.pooler_output.as_deref_mut() {
            for (sink, texts) in sinks.iter_mut().zip(runs) {
                sink.pooler = rest.split_off_mut(..texts.len() * self.hidden_size);
            }
        }
        for (layer, parts) in self.attentions.as_mut().map(|attentions| attentions.parts(runs)).unwrap_or_default() {
            for (sink, part) in sinks.iter_mut().zip(parts) {
                sink.attentions[layer] = Some(part);
            }
        }
        sinks
    }

    /// The result, when everything is written.
    pub fn finish(self, tokens: Tokens) -> HiddenStates {
        HiddenStates {
            data: self.data,
            layers: self.layers,
            hidden_size: self.hidden_size,
            tokens,
            pooler_output: self.pooler_output,
            attentions: self.attentions,
        }
    }
}

/// Where a chunk's rows go: for each layer that is kept, its rows of the result, to be taken and written once.
pub struct Sink<'r> {
    layers: Vec<Option<&'r mut [f32]>>,
    deepest: usize,
    pooler: Option<&'r mut [f32]>,
    attentions: Vec<Option<&'r mut [f32]>>,
}

impl<'r> Sink<'r> {
    /// The rows of a layer, if it is kept.
    pub fn take(&mut self, layer: usize) -> Option<&'r mut [f32]> {
        self.layers[layer].take()
    }

    /// The attention weights of a layer's block `[text][head][query][key]`, if they are wanted.
    pub fn take_attentions(&mut self, layer: usize) -> Option<&'r mut [f32]> {
        self.attentions[layer].take()
    }

    /// The rows of the pooler's output `[text][hidden]`, if it is wanted.
    pub fn take_pooler(&mut self) -> Option<&'r mut [f32]> {
        self.pooler.take()
    }

    /// The last layer that anything asks for: nothing beyond it needs computing.
    pub fn deepest(&self) -> usize {
        self.deepest
    }
}
