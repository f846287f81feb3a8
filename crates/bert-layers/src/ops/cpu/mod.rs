//! [`Ops`] with our own kernels: the default on the CPU.
//!
//! Each output element is one fixed expression whatever rows stand beside it (see `bert_layers_kernels`), so a text's
//! numbers depend neither on its batch nor on the number of threads, in any precision.
//!
//! Hidden states, residuals and norms are f32 always. In bfloat16 and int8 it is the inputs of matrix products that are
//! converted, by whatever produced them: each operation is told who will read its result.

mod disentangled;
mod linear;
mod multiply;
mod rows;
mod scoring;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bert_layers_kernels::{Activation, Bf16, Converted, Epilogue, Kernels, Lookup, Table, Team};

pub use self::disentangled::Disentangled;
pub use self::linear::Linear;
pub(crate) use self::linear::most_outliers;
use self::linear::{Matrix, Weights};
pub use self::rows::Rows;
use self::rows::{Low, Scratch};
use self::scoring::with_scoring;
use super::{Attention, Distances, For, Layer, Ops};
use crate::weights::Tensor;
use crate::{Cancel, Dtype, Result};

/// The kernels, the threads that work together on one chunk, and the flag that stops them.
#[derive(Clone)]
pub struct Cpu {
    kernels: Kernels,
    dtype: Dtype,
    team: Arc<dyn Team + Send>,
    cancel: Cancel,
    scratch: Arc<Scratch>,
}

/// A table of vectors.
pub struct Embedding {
    width: usize,
    entries: Entries,
}

enum Entries {
    F32(Vec<f32>),
    /// Where matrix products are in a lower precision too.
    Bf16(Vec<Bf16>),
}

impl Embedding {
    fn table(&self) -> Table<'_> {
        match &self.entries {
            Entries::F32(table) => Table::F32(table),
            Entries::Bf16(table) => Table::Bf16(table),
        }
    }
}

/// A layer norm's parameters.
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    eps: f32,
}

impl Cpu {
    /// Operations with these kernels in this precision, by the threads of `team`.
    pub fn new(kernels: Kernels, dtype: Dtype, team: Arc<dyn Team + Send>) -> Self {
        Self { kernels, dtype, team, cancel: Cancel::new(), scratch: Arc::default() }
    }

    /// The same operations by another team, ended by `cancel`.
    pub fn with(&self, team: Arc<dyn Team + Send>, cancel: &Cancel) -> Self {
        Self { team, cancel: cancel.clone(), ..self.clone() }
    }

    /// The kernels in use.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Sums of table rows.
    fn sum<'r>(&self, lookups: &[(&Embedding, &[u32])], width: usize, keep: Option<&'r mut [f32]>) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let tables: Vec<Lookup> = lookups.iter().map(|(table, rows)| Lookup { table: table.table(), rows }).collect();
        let count = lookups.first().map_or(0, |(_, rows)| rows.len());
        let mut out = self.scratch.rows(count, width, keep)?;
        self.kernels.embed(&*self.team, &tables, width, out.f32_mut());
        Ok(out)
    }
}

impl Ops for Cpu {
    type Embedding = Embedding;
    type Linear = Linear;
    type LayerNorm = LayerNorm;
    type Disentangled = Disentangled;
    type Rows<'r> = Rows<'r>;

    fn load_embedding(&self, table: Tensor) -> Result<Embedding> {
        let width = table.shape[1];
        if self.dtype == Dtype::Float32 {
            return Ok(Embedding { width, entries: Entries::F32(table.data) });
        }
        let mut rounded = vec![Bf16::default(); table.data.len()];
        self.kernels.convert(&*self.team, &table.data, width, Converted::Bf16(&mut rounded));
        Ok(Embedding { width, entries: Entries::Bf16(rounded) })
    }

    fn load_linear(&self, parts: Vec<Layer>) -> Result<Linear> {
        let (weights, biases): (Vec<Tensor>, Vec<Option<Tensor>>) = parts.into_iter().unzip();
        Linear::load(self.kernels, &*self.team, self.dtype, Weights::Beside(weights), biases)
    }

    fn load_gated(&self, gate: Layer, up: Layer) -> Result<Linear> {
        let weights = Weights::Gated([gate.0, up.0]);
        Linear::load(self.kernels, &*self.team, self.dtype, weights, [gate.1, up.1])
    }

    fn load_head(&self, weight: Tensor, bias: Tensor) -> Result<Linear> {
        Linear::load(self.kernels, &*self.team, Dtype::Float32, Weights::Beside(vec![weight]), [Some(bias)])
    }

    fn load_layer_norm(&self, weight: Tensor, bias: Option<Tensor>, eps: f32) -> Result<LayerNorm> {
        Ok(LayerNorm { weight: weight.data, bias: bias.map(|bias| bias.data), eps })
    }

    fn load_disentangled(&self, distances: &Distances<'_>) -> Result<Disentangled> {
        Disentangled::load(self.kernels, &*self.team, distances)
    }

    fn wants_samples(&self) -> bool {
        self.dtype == Dtype::Int8
    }

    fn settle(&self, linear: &mut Linear) -> Result<()> {
        linear.settle(self.kernels)
    }

    fn embed_norm<'r>(
        &self,
        lookups: &[(&Embedding, &[u32])],
        norm: &LayerNorm,
        next: Option<&Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        let out = self.sum(lookups, norm.weight.len(), keep)?;
        self.norm_in_place(norm, out, next)
    }

    fn embed(&self, lookups: &[(&Embedding, &[u32])]) -> Result<Rows<'static>> {
        self.sum(lookups, lookups.first().map_or(0, |(table, _)| table.width), None)
    }

    fn project<'r>(&self, x: &Rows<'_>, linear: &Linear, keep: Option<&'r mut [f32]>) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let mut out = self.scratch.rows(x.count(), linear.outputs(), keep)?;
        self.multiply(x, linear, Activation::Identity, None, None, &mut out)?;
        Ok(out)
    }

    fn linear(
        &self,
        x: &Rows<'_>,
        linear: &Linear,
        activation: Activation,
        reader: For<'_, Linear>,
    ) -> Result<Rows<'static>> {
        self.cancel.check()?;
        let (count, width) = (x.count(), linear.outputs());
        let upcoming = reader.linear().and_then(Linear::upcoming);
        let epilogue = Epilogue { bias: linear.bias(), activation, residual: None, upcoming };
        match (&linear.matrix, &reader) {
            (Matrix::Bf16(matrix), For::Attention | For::Linear(Linear { matrix: Matrix::Bf16(_), .. })) => {
                let mut out = self.scratch.bf16(count * width)?;
                self.kernels.linear_bf16(&*self.team, &self.as_bf16(x)?, matrix, epilogue, &mut out[..]);
                Ok(Rows::low_only(count, width, Low::Bf16(out)))
            }
            (Matrix::Int8(matrix), For::Attention) => {
                let mut out = self.scratch.bf16(count * width)?;
                let x = self.as_int8(x, matrix)?;
                self.kernels.linear_int8(&*self.team, x.rows(0..count), matrix, epilogue, &mut out[..]);
                Ok(Rows::low_only(count, width, Low::Bf16(out)))
            }
            (Matrix::Int8(matrix), For::Linear(Linear { matrix: Matrix::Int8(next), .. })) => {
                let mut out = self.scratch.int8(next, count)?;
                let x = self.as_int8(x, matrix)?;
                self.kernels.linear_int8_quantized(&*self.team, x.rows(0..count), matrix, epilogue, next, &mut out);
                Ok(Rows::low_only(count, width, Low::Int8(out)))
            }
            _ => {
                let mut out = match reader {
                    For::Linear(Linear { matrix: Matrix::F32(_), .. }) => self.scratch.inputs(count, width)?,
                    _ => self.scratch.rows(count, width, None)?,
                };
                self.multiply(x, linear, activation, None, reader.linear(), &mut out)?;
                Ok(out)
            }
        }
    }

    fn linear_add_norm<'r>(
        &self,
        x: &Rows<'_>,
        linear: &Linear,
        residual: &Rows<'_>,
        norm: &LayerNorm,
        next: Option<&Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let mut out = self.scratch.rows(x.count(), linear.outputs(), keep)?;
        self.multiply(x, linear, Activation::Identity, Some(residual.f32()), next, &mut out)?;
        self.norm_in_place(norm, out, next)
    }

    fn linear_add<'r>(
        &self,
        x: &Rows<'_>,
        linear: &Linear,
        residual: &Rows<'_>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let mut out = self.scratch.rows(x.count(), linear.outputs(), keep)?;
        self.multiply(x, linear, Activation::Identity, Some(residual.f32()), None, &mut out)?;
        Ok(out)
    }

    fn norm<'r>(
        &self,
        x: &Rows<'_>,
        norm: &LayerNorm,
        reader: For<'_, Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let LayerNorm { weight, bias, eps } = norm;
        let (from, weight, bias, team) = (x.f32(), &weight[..], bias.as_deref(), &*self.team);
        let (count, width) = (x.count(), x.width());
        match reader {
            For::Linear(Linear { matrix: Matrix::Bf16(_), .. }) => {
                let mut low = self.scratch.bf16(from.len())?;
                self.kernels.layer_norm_converted(team, from, weight, bias, *eps, Converted::Bf16(&mut low));
                Ok(Rows::low_only(count, width, Low::Bf16(low)))
            }
            For::Linear(Linear { matrix: Matrix::Int8(matrix), .. }) => {
                let mut low = self.scratch.int8(matrix, count)?;
                self.kernels.layer_norm_converted(team, from, weight, bias, *eps, Converted::Int8(matrix, &mut low));
                Ok(Rows::low_only(count, width, Low::Int8(low)))
            }
            _ => {
                let mut out = self.scratch.rows(count, width, keep)?;
                self.kernels.layer_norm(team, from, weight, bias, *eps, out.f32_mut());
                Ok(out)
            }
        }
    }

    fn add_norm<'r>(
        &self,
        x: &Rows<'_>,
        residual: Option<&Rows<'_>>,
        norm: &LayerNorm,
        next: Option<&Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<Rows<'r>> {
        self.cancel.check()?;
        let mut out = self.scratch.rows(x.count(), x.width(), keep)?;
        out.f32_mut().copy_from_slice(x.f32());
        if let Some(residual) = residual {
            out.f32_mut().iter_mut().zip(residual.f32()).for_each(|(x, residual)| *x += residual);
        }
        self.norm_in_place(norm, out, next)
    }

    fn neighbours(
        &self,
        x: &Rows<'_>,
        texts: &[Range<usize>],
        mask: Option<&[bool]>,
        size: usize,
    ) -> Result<Rows<'static>> {
        let width = x.width();
        let mut out = self.scratch.rows(x.count(), size * width, None)?;
        for text in texts {
            for row in text.clone() {
                let places = out.f32_mut()[row * size * width..][..size * width].chunks_exact_mut(width);
                for (to, at) in places.zip(row..) {
                    match at.checked_sub(size / 2).filter(|at| text.contains(at) && mask.is_none_or(|mask| mask[*at])) {
                        Some(at) => to.copy_from_slice(&x.f32()[at * width..(at + 1) * width]),
                        None => to.fill(0.0),
                    }
                }
            }
        }
        Ok(out)
    }

    fn attention(
        &self,
        qkv: &Rows<'_>,
        attention: &Attention<'_, Disentangled>,
        next: &Linear,
    ) -> Result<Rows<'static>> {
        self.cancel.check()?;
        let (count, hidden) = (qkv.count(), qkv.width() / 3);
        let (texts, mask, team) = (attention.texts, attention.mask, &*self.team);
        with_scoring(attention, hidden, |scoring| match (qkv.low(), &next.matrix) {
            (Low::Bf16(qkv), Matrix::Bf16(_)) => {
                let mut out = self.scratch.bf16(count * hidden)?;
                self.kernels.attention_bf16(team, qkv, texts, mask, scoring, &mut out[..]);
                Ok(Rows::low_only(count, hidden, Low::Bf16(out)))
            }
            (Low::Bf16(qkv), _) => {
                let mut out = self.scratch.rows(count, hidden, None)?;
                self.kernels.attention_bf16(team, qkv, texts, mask, scoring, out.f32_mut());
                Ok(out)
            }
            _ => {
                let mut out = self.scratch.rows(count, hidden, None)?;
                self.kernels.attention(team, qkv.f32(), texts, mask, scoring, out.f32_mut());
                Ok(out)
            }
        })
    }

    fn attention_probabilities(
        &self,
        qkv: &Rows<'_>,
        attention: &Attention<'_, Disentangled>,
        out: &mut [f32],
    ) -> Result<()> {
        self.cancel.check()?;
        let (texts, mask, team) = (attention.texts, attention.mask, &*self.team);
        with_scoring(attention, qkv.width() / 3, |scoring| {
            match qkv.low() {
                Low::Bf16(qkv) => self.kernels.attention_probabilities_bf16(team, qkv, texts, mask, scoring, out),
                _ => self.kernels.attention_probabilities(team, qkv.f32(), texts, mask, scoring, out),
            }
            Ok(())
        })
    }

    fn select(&self, x: &Rows<'_>, rows: &[usize]) -> Result<Rows<'static>> {
        let (width, stride) = (x.width(), x.stride());
        if let (Low::Bf16(low), []) = (x.low(), x.f32()) {
            let mut out = self.scratch.bf16(rows.len() * width)?;
            pick(low, width, rows, width, &mut out);
            return Ok(Rows::low_only(rows.len(), width, Low::Bf16(out)));
        }
        let mut out = self.scratch.rows(rows.len(), width, None)?;
        pick(x.f32(), stride, rows, width, out.f32_mut());
        Ok(out)
    }

    fn read<'a>(&self, x: &'a Rows<'_>) -> Result<Cow<'a, [f32]>> {
        Ok(Cow::Borrowed(x.f32()))
    }
}

/// These rows of `from`, which lie `stride` apart, in this order.
fn pick<T: Copy>(from: &[T], stride: usize, rows: &[usize], width: usize, to: &mut [T]) {
    for (to, &row) in to.chunks_exact_mut(width).zip(rows) {
        to.copy_from_slice(&from[row * stride..][..width]);
    }
}
