//! The seam: the few operations that an encoder needs, each in its fused form. The models are written once against
//! [`Ops`]; what implements it decides where and how fast the arithmetic happens.

mod candle;
mod cpu;
mod rotary;

use std::borrow::Cow;
use std::ops::Range;

use bert_layers_kernels::Activation;

pub use self::candle::Candle;
pub use self::cpu::Cpu;
pub use self::rotary::Rotary;
use crate::Result;
use crate::weights::Tensor;

/// What attention needs to know of a chunk beside its numbers.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// The rows of each text: a row attends to those of its own text only.
    pub texts: &'a [Range<usize>],
    /// Which rows may be attended to; none: all.
    pub mask: Option<&'a [bool]>,
    /// Heads; the width of q, of k and of v is a multiple of it.
    pub heads: usize,
    /// Turns queries and keys by their positions in the text, of which a masked row has one too.
    pub rotary: Option<&'a Rotary>,
    /// How many rows before it and after it a row attends to; none: all.
    pub window: Option<usize>,
}

impl Attention<'_> {
    /// The longest text's rows.
    fn longest(&self) -> usize {
        self.texts.iter().map(ExactSizeIterator::len).max().unwrap_or(0)
    }
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
    /// Activations.
    type Rows<'r>;

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

    /// `norm(Σ tableᵢ[rowsᵢ])`, added in the order given. Rows must be within their tables.
    fn embed_norm<'r>(
        &self,
        lookups: &[(&Self::Embedding, &[u32])],
        norm: &Self::LayerNorm,
        next: Option<&Self::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Self::Rows<'r>>;

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

    /// Per text and head, `softmax(q·kᵀ / √d) · v`, where the columns of `qkv` are all of q, then k, then v.
    fn attention(
        &self,
        qkv: &Self::Rows<'_>,
        attention: &Attention<'_>,
        next: &Self::Linear,
    ) -> Result<Self::Rows<'static>>;

    /// The weights of [`attention`](Self::attention), `softmax(q·kᵀ / √d)`: text after text `[head][query][key]` in f32, a masked
    /// key with 0, and one outside the window.
    fn attention_probabilities(&self, qkv: &Self::Rows<'_>, attention: &Attention<'_>, out: &mut [f32]) -> Result<()>;

    /// Only these rows.
    fn select(&self, x: &Self::Rows<'_>, rows: &[usize]) -> Result<Self::Rows<'static>>;

    /// Activations as f32: of [`embed_norm`](Self::embed_norm), [`project`](Self::project), [`linear_add_norm`](Self::linear_add_norm)
    /// and [`linear_add`](Self::linear_add), or made [for anybody](For::Anybody).
    fn read<'a>(&self, x: &'a Self::Rows<'_>) -> Result<Cow<'a, [f32]>>;
}
