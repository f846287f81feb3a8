//! The result: one buffer `[layer][token][hidden]`, allocated once at its exact size.

use crate::Tokens;

/// Every kept layer's hidden state of every token. The buffer is exactly as large as its contents, so it can be handed on
/// without a copy.
#[derive(Debug, Clone, PartialEq)]
pub struct HiddenStates {
    data: Vec<f32>,
    layers: Vec<usize>,
    hidden_size: usize,
    tokens: Tokens,
    pooler_output: Option<Vec<f32>>,
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
}

impl HiddenStates {
    /// Puts a finished result together.
    pub(crate) fn new(parts: Parts, hidden_size: usize) -> Self {
        let Parts { data, layers, tokens, pooler_output } = parts;
        Self { data, layers, hidden_size, tokens, pooler_output }
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

    /// The pooler's output `[text][hidden]`, when it was asked for.
    pub fn pooler_output(&self) -> Option<&[f32]> {
        self.pooler_output.as_deref()
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
        Parts { data: self.data, layers: self.layers, tokens: self.tokens, pooler_output: self.pooler_output }
    }
}
