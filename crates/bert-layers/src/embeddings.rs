//! The vectors of texts and spans.

use crate::pool::Pool;
use crate::precision::{Precision, Vectors};
use crate::sequences::Cuts;
use crate::{Error, Result, Tokens};

/// One vector a text, or a span of a text, and with [`Combine::None`](crate::Combine::None) one a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// `[text or span][dim]`, or `[layer][text or span][dim]`, as the precision stores it.
    pub vectors: Vectors,
    /// Numbers of a vector.
    pub dim: usize,
    /// The layers, where each has vectors of its own.
    pub layers: Option<Vec<usize>>,
    /// Where each text's vectors start among those of a layer, and at the end their number.
    pub starts: Vec<usize>,
    /// How the vectors were made.
    pub used: Used,
    /// The tokens of all texts, but for those that an overflow left out. Offsets are into the texts without their prompt.
    pub tokens: Tokens,
    /// What an overflow left out.
    pub cuts: Cuts,
}

/// How vectors were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// How token vectors became one.
    pub pool: Pool,
    /// Who chose that.
    pub source: PoolingSource,
    /// Whether vectors were made unit length.
    pub normalize: bool,
}

/// Who chose the way of pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingSource {
    /// The call.
    Option,
    /// The model's files.
    Model,
    /// Nobody: it is the default, the mean.
    Default,
}

/// As torch.nn.functional.normalize has it: a vector shorter than this is divided by this.
const SHORTEST: f64 = 1e-12;

impl Embeddings {
    #[allow(clippy::too_many_arguments)] // each is a field, or makes one
    pub(crate) fn new(
        mut data: Vec<f32>,
        width: usize,
        dim: usize,
        precision: Precision,
        used: Used,
        layers: Option<Vec<usize>>,
        starts: Vec<usize>,
        tokens: Tokens,
        cuts: Cuts,
    ) -> Result<Self> {
        if dim < width {
            let count = data.len() / width;
            for vector in 1..count {
                data.copy_within(vector * width..vector * width + dim, vector * dim);
            }
            data.truncate(count * dim);
            data.shrink_to_fit(); // so that it can be handed on as it is
        }
        // An infinite number leaves no direction to normalize and no scale to round by; where neither is asked for it is still no result.
        if data.iter().any(|x| !x.is_finite()) {
            return Err(Error::InvalidInput(
                "a vector has numbers beyond float32: give combine smaller weights".into(),
            ));
        }
        if used.normalize {
            data.chunks_exact_mut(dim).for_each(normalize);
        }
        if precision == Precision::Float16 && data.iter().any(|&x| half::f16::from_f32(x).is_infinite()) {
            return Err(Error::InvalidInput(
                "a vector has numbers beyond float16, which ends at 65504: choose precision 'float32', normalize, or give combine smaller weights"
                    .into(),
            ));
        }
        Ok(Self { vectors: Vectors::new(data, dim, precision), dim, layers, starts, used, tokens, cuts })
    }

    /// The vectors in float32 `[text or span][dim]`; none in another precision, or for a layer that is not there. `layer` counts
    /// within [`layers`](Self::layers), 0 where those were combined.
    pub fn layer(&self, layer: usize) -> Option<&[f32]> {
        let Vectors::Float32(data) = &self.vectors else { return None };
        let size = self.starts.last()? * self.dim;
        data.get(layer * size..(layer + 1) * size)
    }

    /// The vector of a text, or of its first span, in float32; none in another precision, or where there is no such text.
    pub fn get(&self, text: usize) -> Option<&[f32]> {
        self.span(text, 0)
    }

    /// The vector of a span of a text, likewise.
    pub fn span(&self, text: usize, span: usize) -> Option<&[f32]> {
        let rows = *self.starts.get(text)?..*self.starts.get(text + 1)?;
        let row = rows.clone().nth(span)?;
        self.layer(0)?.get(row * self.dim..(row + 1) * self.dim)
    }
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(SHORTEST);
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}
