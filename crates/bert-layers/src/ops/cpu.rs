//! [`Ops`] with our own kernels: the default on the CPU.
//!
//! Each output element is one fixed expression whatever rows stand beside it (see `bert_layers_kernels`), so a text's
//! numbers depend neither on its batch nor on the number of threads.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bert_layers_kernels::{Activation, Epilogue, Heads, Kernels, Lookup, PackedMatrix, Team, try_zeroed};

use super::{Attention, Ops};
use crate::weights::Tensor;
use crate::{Cancel, Result};

/// Rows that are computed between two looks at the cancel flag.
const CANCEL_ROWS: usize = 256;

/// The kernels, the threads that work together on one chunk, and the flag that stops them.
#[derive(Clone)]
pub struct Cpu {
    kernels: Kernels,
    team: Arc<dyn Team + Send>,
    cancel: Cancel,
    scratch: Arc<Scratch>,
}

/// Buffers of earlier operations, kept because fresh memory costs a page fault every 4 KB.
#[derive(Default)]
struct Scratch(Mutex<Vec<Vec<f32>>>);

/// Activations, in the user's result or in scratch memory.
pub enum Rows<'r> {
    /// Rows that the user gets.
    Kept {
        /// The rows.
        rows: &'r mut [f32],
        /// Columns.
        width: usize,
    },
    /// Rows that only the next operation needs.
    Scratch(ScratchRows),
}

/// A buffer that goes back to the scratch memory when it is dropped.
pub struct ScratchRows {
    buffer: Vec<f32>,
    len: usize,
    width: usize,
    home: Arc<Scratch>,
}

/// A table of vectors.
pub struct Embedding(Vec<f32>);

/// A packed matrix and its bias.
pub struct Linear {
    matrix: PackedMatrix,
    bias: Vec<f32>,
}

/// A layer norm's parameters.
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl Cpu {
    /// Operations with these kernels, by the threads of `team`.
    pub fn new(kernels: Kernels, team: Arc<dyn Team + Send>) -> Self {
        Self { kernels, team, cancel: Cancel::new(), scratch: Arc::default() }
    }

    /// The same operations by another team, ended by `cancel`.
    pub fn with(&self, team: Arc<dyn Team + Send>, cancel: &Cancel) -> Self {
        Self { team, cancel: cancel.clone(), ..self.clone() }
    }

    /// The kernels in use.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Rows for an output: the user's own where they are kept.
    fn rows<'r>(&self, count: usize, width: usize, keep: Option<&'r mut [f32]>) -> Result<Rows<'r>> {
        match keep {
            Some(rows) => Ok(Rows::Kept { rows, width }),
            None => Ok(Rows::Scratch(self.scratch_rows(count, width)?)),
        }
    }

    fn scratch_rows(&self, count: usize, width: usize) -> Result<ScratchRows> {
        let len = count * width;
        let mut free = self.scratch.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = (0..free.len()).filter(|&i| free[i].len() >= len).min_by_key(|&i| free[i].len());
        let buffer = match fits {
            Some(i) => free.swap_remove(i),
            None => {
                free.pop(); // the new buffer takes its place: there are never more than were in use at once
                drop(free);
                try_zeroed(len)?
            }
        };
        Ok(ScratchRows { buffer, len, width, home: self.scratch.clone() })
    }

    /// `out = activation(x · Wᵀ + b) + residual`, in blocks of rows, so that a cancelled call ends soon.
    fn multiply(
        &self,
        x: &[f32],
        linear: &Linear,
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) -> Result<()> {
        let (inputs, outputs) = (linear.matrix.inputs(), linear.matrix.outputs());
        for (i, out) in out.chunks_mut(CANCEL_ROWS * outputs).enumerate() {
            self.cancel.check()?;
            let rows = i * CANCEL_ROWS..i * CANCEL_ROWS + out.len() / outputs;
            let epilogue = Epilogue {
                bias: Some(&linear.bias),
                activation,
                residual: residual.map(|r| &r[rows.start * outputs..rows.end * outputs]),
            };
            self.kernels.linear(&*self.team, &x[rows.start * inputs..rows.end * inputs], &linear.matrix, epilogue, out);
        }
        Ok(())
    }

    fn norm(&self, norm: &LayerNorm, rows: &mut [f32]) {
        self.kernels.layer_norm_in_place(&*self.team, rows, &norm.weight, Some(&norm.bias), norm.eps);
    }
}

impl Ops for Cpu {
    type Embedding = Embedding;
    type Linear = Linear;
    type LayerNorm = LayerNorm;
    type Rows<'r> = Rows<'r>;

    fn load_embedding(&self, table: Tensor) -> Result<Embedding> {
        Ok(Embedding(table.data))
    }

    fn load_linear(&self, parts: Vec<(Tensor, Tensor)>) -> Result<Linear> {
        let matrices: Vec<(&[f32], usize)> =
            parts.iter().map(|(weight, _)| (weight.data.as_slice(), weight.shape[0])).collect();
        let inputs = parts.first().map_or(0, |(weight, _)| weight.shape[1]);
        let matrix = PackedMatrix::pack_side_by_side(self.kernels, &matrices, inputs)?;
        Ok(Linear { matrix, bias: parts.into_iter().flat_map(|(_, bias)| bias.data).collect() })
    }

    fn load_layer_norm(&self, weight: Tensor, bias: Tensor, eps: f32) -> Result<LayerNorm> {
        Ok(LayerNorm { weight: weight.data, bias: bias.data, eps })
    }

    fn embed_norm<'r>(
        &self,
        lookups: &[(&Embedding, &[u32])],
        norm: &LayerNorm,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let width = norm.weight.len();
        let tables: Vec<Lookup> = lookups.iter().map(|(table, rows)| Lookup { table: &table.0, rows }).collect();
        let count = lookups.first().map_or(0, |(_, rows)| rows.len());
        let mut out = self.rows(count, width, keep)?;
        self.kernels.embed(&*self.team, &tables, width, &mut out);
        self.norm(norm, &mut out);
        Ok(out)
    }

    fn linear(&self, x: &Rows<'_>, linear: &Linear, activation: Activation) -> Result<Rows<'static>> {
        let mut out = self.rows(x.count(), linear.matrix.outputs(), None)?;
        self.multiply(x, linear, activation, None, &mut out)?;
        Ok(out)
    }

    fn linear_add_norm<'r>(
        &self,
        x: &Rows<'_>,
        linear: &Linear,
        residual: &Rows<'_>,
        norm: &LayerNorm,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        let mut out = self.rows(x.count(), linear.matrix.outputs(), keep)?;
        self.multiply(x, linear, Activation::Identity, Some(residual), &mut out)?;
        self.norm(norm, &mut out);
        Ok(out)
    }

    fn attention(&self, qkv: &Rows<'_>, attention: &Attention<'_>) -> Result<Rows<'static>> {
        self.cancel.check()?;
        let hidden = qkv.width() / 3;
        let dim = hidden / attention.heads;
        let heads = Heads { count: attention.heads, dim, scale: 1.0 / (dim as f32).sqrt() };
        let mut out = self.rows(qkv.count(), hidden, None)?;
        self.kernels.attention(&*self.team, qkv, attention.texts, attention.mask, heads, &mut out);
        Ok(out)
    }

    fn select(&self, x: &Rows<'_>, rows: &[usize]) -> Result<Rows<'static>> {
        let width = x.width();
        let mut out = self.rows(rows.len(), width, None)?;
        for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
            out.copy_from_slice(&x[row * width..(row + 1) * width]);
        }
        Ok(out)
    }

    fn store(&self, x: &Rows<'_>, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(x);
        Ok(())
    }
}

impl Rows<'_> {
    fn width(&self) -> usize {
        match self {
            Rows::Kept { width, .. } => *width,
            Rows::Scratch(rows) => rows.width,
        }
    }

    fn count(&self) -> usize {
        self.len() / self.width()
    }
}

impl Deref for Rows<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Rows::Kept { rows, .. } => rows,
            Rows::Scratch(rows) => &rows.buffer[..rows.len],
        }
    }
}

impl DerefMut for Rows<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Rows::Kept { rows, .. } => rows,
            Rows::Scratch(rows) => &mut rows.buffer[..rows.len],
        }
    }
}

impl Drop for ScratchRows {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}
