//! The seam: the few operations that an encoder needs, each in its fused form. The models are written once against
//! [`Ops`]; what implements it decides where and how fast the arithmetic happens.

mod candle;
mod cpu;
mod rotary;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bert_layers_kernels::{Activation, DistanceBias};

pub use self::candle::Candle;
pub use self::cpu::Cpu;
pub(crate) use self::cpu::most_outliers as cpu_most_outliers;
pub use self::rotary::Rotary;
use crate::Result;
use crate::fold::Terms;
use crate::weights::Tensor;

/// What attention needs to know of a chunk beside its numbers.
pub struct Attention<'a, D> {
    /// The rows of each text: a row attends to those of its own text only.
    pub texts: &'a [Range<usize>],
    /// Which rows may be attended to; none: all.
    pub mask: Option<&'a [bool]>,
    /// Heads; the width of q, of k and of v is a multiple of it.
    pub heads: usize,
    /// What distances of keys add to scores.
    pub bias: Option<&'a DistanceBias>,
    /// What distances add to the scores, in DeBERTa.
    pub disentangled: Option<&'a D>,
    /// Turns queries and keys by their positions in the text, of which a masked row has one too.
    pub rotary: Option<&'a Rotary>,
    /// How many rows before it and after it a row attends to; none: all.
    pub window: Option<usize>,
}

// Not derived: that would want D to be Clone too.
impl<D> Clone for Attention<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Attention<'_, D> {}

impl<'a, D> Attention<'a, D> {
    /// Attention as BERT has it: nothing but q, k and v counts.
    pub fn plain(texts: &'a [Range<usize>], mask: Option<&'a [bool]>, heads: usize) -> Self {
        Attention { texts, mask, heads, bias: None, disentangled: None, rotary: None, window: None }
    }

    /// The longest text's rows.
    fn longest(&self) -> usize {
        self.texts.iter().map(ExactSizeIterator::len).max().unwrap_or(0)
    }
}

/// What [`Ops::load_disentangled`] makes the vectors of distances from.
pub struct Distances<'a> {
    /// The relative embeddings `[rows, in]`.
    pub embeddings: &'a Tensor,
    /// The layer, weight `[width, in]` and bias, that makes of them what queries are multiplied with ("c2p").
    pub keys: Option<&'a (Tensor, Tensor)>,
    /// The layer that makes of them what keys are multiplied with ("p2c").
    pub queries: Option<&'a (Tensor, Tensor)>,
    /// The row for each distance of a query from a key, from −(n − 1) to n − 1 for texts of up to n tokens.
    pub rows: &'a Arc<[u32]>,
    /// By how much more than √d scores are divided: √(d · terms).
    pub terms: usize,
}

/// A linear layer's weight `[out, in]` and bias `[out]`.
pub type Layer = (Tensor, Option<Tensor>);

/// Who reads a result: an implementation may give it in just the form that its reader takes.
pub enum For<'a, L> {
    /// [`Ops::attention`].
    Attention,
    /// This linear layer and nobody else.
    Linear(&'a L),
    /// Anybody.
    Anybody,
}

impl<'a, L> For<'a, L> {
    /// The linear layer that reads it, if it is one.
    fn linear(&self) -> Option<&'a L> {
        match self {
            For::Linear(linear) => Some(linear),
            For::Attention | For::Anybody => None,
        }
    }
}

/// Rows on their way from a device to the host, while the device computes on.
pub trait Reading {
    /// How many numbers come.
    fn len(&self) -> usize;

    /// Waits for them; `out` is as long.
    fn finish(self: Box<Self>, out: &mut [f32]) -> Result<()>;
}

/// Operations on activations of shape `[rows, width]`.
///
/// `next` is the linear layer that reads the output first, where one does; the output is for others too.
///
/// `keep` is where the caller wants the output's rows as f32. An implementation may compute right into it, so that
/// what it gives back and what the user gets are the same memory. `'r` is how long those rows live.
pub trait Ops: Send + Sync {
    /// A table of vectors.
    type Embedding: Send + Sync;
    /// A matrix with its bias, in the layout that this implementation multiplies fastest.
    type Linear: Send + Sync;
    /// Weight, bias and epsilon of a layer norm.
    type LayerNorm: Send + Sync;
    /// A block's vectors of distances, for [disentangled attention](Attention::disentangled).
    type Disentangled: Send + Sync;
    /// Activations.
    type Rows<'r>;

    /// Whether `keep` saves a copy. Where it does not, rows are [read](Self::begin_read) when they are there.
    const IN_PLACE: bool = true;

    /// Takes a table `[entries, width]`.
    fn load_embedding(&self, table: Tensor) -> Result<Self::Embedding>;

    /// Takes layers one above the other: their outputs come side by side.
    fn load_linear(&self, parts: Vec<Layer>) -> Result<Self::Linear>;

    /// Takes the two layers of a gated linear unit, of one size: [`linear`](Self::linear) with it is
    /// `activation(gate(x)) · up(x)`.
    fn load_gated(&self, gate: Layer, up: Layer) -> Result<Self::Linear>;

    /// Takes weight `[out, in]` and bias `[out]` of a layer outside the blocks, such as the pooler's: small, and computed exactly.
    fn load_head(&self, weight: Tensor, bias: Tensor) -> Result<Self::Linear>;

    /// Whether linear layers must see typical inputs before they can be used: the model then runs some samples through each
    /// block as soon as it is loaded, and [settles](Self::settle) it.
    fn wants_samples(&self) -> bool {
        false
    }

    /// Makes a linear layer what it is to be, from the inputs that it has seen.
    fn settle(&self, _linear: &mut Self::Linear) -> Result<()> {
        Ok(())
    }

    /// Takes weight `[width]` and bias `[width]`.
    fn load_layer_norm(&self, weight: Tensor, bias: Option<Tensor>, eps: f32) -> Result<Self::LayerNorm>;

    /// Projects the relative embeddings, which are the same for every text, once.
    fn load_disentangled(&self, distances: &Distances<'_>) -> Result<Self::Disentangled>;

    /// `norm(Σ tableᵢ[rowsᵢ])`, added in the order given. Rows must be within their tables.
    fn embed_norm<'r>(
        &self,
        lookups: &[(&Self::Embedding, &[u32])],
        norm: &Self::LayerNorm,
        next: Option<&Self::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

    /// `Σ tableᵢ[rowsᵢ]`, for who does not norm it yet.
    fn embed(&self, lookups: &[(&Self::Embedding, &[u32])]) -> Result<Self::Rows<'static>>;

    /// `x · Wᵀ + b`, rows of an embedding at the width of the blocks. Who reads them first converts them, where it must.
    fn project<'r>(
        &self,
        x: &Self::Rows<'_>,
        linear: &Self::Linear,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

    /// `activation(x · Wᵀ + b)`.
    fn linear(
        &self,
        x: &Self::Rows<'_>,
        linear: &Self::Linear,
        activation: Activation,
        reader: For<'_, Self::Linear>,
    ) -> Result<Self::Rows<'static>>;

    /// `norm(x · Wᵀ + b + residual)`: the end of each half of a post-norm block.
    fn linear_add_norm<'r>(
        &self,
        x: &Self::Rows<'_>,
        linear: &Self::Linear,
        residual: &Self::Rows<'_>,
        norm: &Self::LayerNorm,
        next: Option<&Self::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

    /// `norm(x + residual)`, or `norm(x)`. Both are f32 or made [for anybody](For::Anybody).
    fn add_norm<'r>(
        &self,
        x: &Self::Rows<'_>,
        residual: Option<&Self::Rows<'_>>,
        norm: &Self::LayerNorm,
        next: Option<&Self::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

    /// Each row beside its neighbours in the text, `size` (odd) rows in all, itself in the middle: what a convolution along the text
    /// multiplies. Zeros stand for rows beyond the text's ends and for those that `mask` leaves out.
    fn neighbours(
        &self,
        x: &Self::Rows<'_>,
        texts: &[Range<usize>],
        mask: Option<&[bool]>,
        size: usize,
    ) -> Result<Self::Rows<'static>>;

    /// `x · Wᵀ + b + residual`: the end of each half of a pre-norm block.
    fn linear_add<'r>(
        &self,
        x: &Self::Rows<'_>,
        linear: &Self::Linear,
        residual: &Self::Rows<'_>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

    /// `norm(x)`, beside x: the start of each half of a pre-norm block.
    fn norm<'r>(
        &self,
        x: &Self::Rows<'_>,
        norm: &Self::LayerNorm,
        reader: For<'_, Self::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

    /// Per text and head, `softmax(q·kᵀ / √d + bias) · v`, where the columns of `qkv` are all of q, then k, then v.
    ///
    /// Disentangled, for the query at position i and the key at j: `softmax((qᵢ·kⱼ + qᵢ·K(i−j) + kⱼ·Q(i−j)) / √(d · terms)) · v`.
    fn attention(
        &self,
        qkv: &Self::Rows<'_>,
        attention: &Attention<'_, Self::Disentangled>,
        next: &Self::Linear,
    ) -> Result<Self::Rows<'static>>;

    /// The weights of [`attention`](Self::attention), `softmax(q·kᵀ / √d + bias)`: text after text `[head][query][key]` in f32, a masked
    /// key with 0, and one outside the window.
    fn attention_probabilities(
        &self,
        qkv: &Self::Rows<'_>,
        attention: &Attention<'_, Self::Disentangled>,
        out: &mut [f32],
    ) -> Result<()>;

    /// Only these rows, of what [`read`](Self::read) or a linear layer takes; never of what was quantized for one layer alone.
    fn select(&self, x: &Self::Rows<'_>, rows: &[usize]) -> Result<Self::Rows<'static>>;

    /// Activations as f32: of [`embed_norm`](Self::embed_norm), [`project`](Self::project), [`linear_add_norm`](Self::linear_add_norm)
    /// and [`linear_add`](Self::linear_add), or made [for anybody](For::Anybody).
    fn read<'a>(&self, x: &'a Self::Rows<'_>) -> Result<Cow<'a, [f32]>>;

    /// Makes few rows of many where they are, so that only those are read. None: whoever reads them does that.
    fn fold(&self, _x: &Self::Rows<'_>, _terms: &Terms) -> Result<Option<Self::Rows<'static>>> {
        Ok(None)
    }

    /// Begins to [read](Self::read), on a device that computes on meanwhile. None: there is nothing to wait for.
    fn begin_read(&self, _x: &Self::Rows<'_>) -> Result<Option<Box<dyn Reading>>> {
        Ok(None)
    }
}
