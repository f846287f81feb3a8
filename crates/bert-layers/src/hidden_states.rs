//! The result: one buffer `[layer][row][hidden]`, a row a token or a word, allocated once.

use std::ops::Range;

use crate::Tokens;
use crate::attentions::Attentions;
use crate::result_buffer::ResultBuffer;
use crate::sequences::Cuts;
use crate::words::Words;

/// Every kept layer's hidden state of every token. The buffer can be handed on without a copy.
#[derive(Debug, Clone, PartialEq)]
pub struct HiddenStates {
    data: ResultBuffer,
    layers: Vec<usize>,
    hidden_size: usize,
    tokens: Tokens,
    pooler_output: Option<Vec<f32>>,
    attentions: Option<Attentions>,
    words: Option<Words>,
    cuts: Cuts,
}

/// A [`HiddenStates`] taken apart, to hand its buffers on.
#[derive(Debug)]
pub struct Parts {
    /// `[layer][token of all texts][hidden]`.
    pub data: ResultBuffer,
    /// Layer numbers, in the order asked for.
    pub layers: Vec<usize>,
    /// The tokens of all texts.
    pub tokens: Tokens,
    /// `[text][hidden]`, when the pooler was asked for.
    pub pooler_output: Option<Vec<f32>>,
    /// The attention weights, when they were asked for.
    pub attentions: Option<Attentions>,
    /// The words, when rows are words.
    pub words: Option<Words>,
    /// What an overflow left out.
    pub cuts: Cuts,
}

impl HiddenStates {
    /// Puts a finished result together.
    pub(crate) fn new(parts: Parts, hidden_size: usize) -> Self {
        let Parts { data, layers, tokens, pooler_output, attentions, words, cuts } = parts;
        Self { data, layers, hidden_size, tokens, pooler_output, attentions, words, cuts }
    }

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

    /// The words, when rows are words instead of tokens.
    pub fn words(&self) -> Option<&Words> {
        self.words.as_ref()
    }

    /// What an overflow left out.
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// A text's rows within a layer: its tokens, or its words.
    pub fn rows(&self, text: usize) -> Range<usize> {
        self.words.as_ref().map_or_else(|| self.tokens.rows(text), |words| words.rows(text))
    }

    /// The pooler's output `[text][hidden]`, when it was asked for.
    pub fn pooler_output(&self) -> Option<&[f32]> {
        self.pooler_output.as_deref()
    }

    /// The attention weights of the kept blocks, when they were asked for.
    pub fn attentions(&self) -> Option<&Attentions> {
        self.attentions.as_ref()
    }

    /// One layer `[row of all texts][hidden]`, a row being a token or a word; none if it was not kept.
    pub fn layer(&self, layer: usize) -> Option<&[f32]> {
        let at = self.layers.iter().position(|&kept| kept == layer)?;
        let size = self.words.as_ref().map_or(self.tokens.len(), Words::len) * self.hidden_size;
        Some(&self.data[at * size..(at + 1) * size])
    }

    /// One text at one layer `[row][hidden]`; none if the layer was not kept or there is no such text.
    pub fn get(&self, layer: usize, text: usize) -> Option<&[f32]> {
        if text >= self.tokens.texts() {
            return None;
        }
        let rows = self.rows(text);
        Some(&self.layer(layer)?[rows.start * self.hidden_size..rows.end * self.hidden_size])
    }

    /// One token's or word's hidden state; none if the layer was not kept or there is no such text or row.
    pub fn token(&self, layer: usize, text: usize, token: usize) -> Option<&[f32]> {
        self.get(layer, text)?.chunks_exact(self.hidden_size).nth(token)
    }

    /// The buffers themselves.
    pub fn into_parts(self) -> Parts {
        let Self { data, layers, tokens, pooler_output, attentions, words, cuts, .. } = self;
        Parts { data, layers, tokens, pooler_output, attentions, words, cuts }
    }
}
