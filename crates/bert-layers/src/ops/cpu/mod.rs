//! [`Ops`] with our own kernels: the default on the CPU.
//!
//! Each output element is one fixed expression whatever rows stand beside it (see `bert_layers_kernels`), so a text's
//! numbers depend neither on its batch nor on the number of threads, in any precision.
//!
//! Hidden states, residuals and norms are f32 always. In bfloat16 and int8 it is the inputs of matrix products that are
//! converted, by whatever produced them: each operation is told who will read its result.

mod linear;
mod rows;

use std::borrow::Cow;
use std::sync::Arc;

use bert_layers_kernels::{Activation, Bf16, Converted, Epilogue, Heads, Kernels, Lookup, PackedInt8, Table, Team};

pub use self::linear::Linear;
use self::linear::Matrix;
pub use self::rows::Rows;
use self::rows::{Lent, Low, Scratch, ScratchInt8, ScratchRows};
use super::{Attention, For, Ops};
use crate::weights::Tensor;
use crate::{Cancel, Dtype, Result};

/// Rows that are computed between two looks at the cancel flag.
const CANCEL_ROWS: usize = 256;

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
pub enum Embedding {
    F32(Vec<f32>),
    /// Where matrix products are in a lower precision too.
    Bf16(Vec<Bf16>),
}

impl Embedding {
    fn table(&self) -> Table<'_> {
        match self {
            Embedding::F32(table) => Table::F32(table),
            Embedding::Bf16(table) => Table::Bf16(table),
        }
    }
}

/// A layer norm's parameters.
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
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

    /// `out = activation(x · Wᵀ + b) + residual` in f32.
    fn multiply(
        &self,
        x: &Rows<'_>,
        linear: &Linear,
        activation: Activation,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) -> Result<()> {
        let epilogue = Epilogue { bias: Some(&linear.bias), activation, residual };
        match &linear.matrix {
            Matrix::F32(matrix) => {
                // In blocks of rows, so that a cancelled call ends soon.
                let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
                for (i, out) in out.chunks_mut(CANCEL_ROWS * outputs).enumerate() {
                    self.cancel.check()?;
                    let rows = i * CANCEL_ROWS..i * CANCEL_ROWS + out.len() / outputs;
                    let residual = residual.map(|r| &r[rows.start * outputs..rows.end * outputs]);
                    let x = &x.f32()[rows.start * inputs..rows.end * inputs];
                    self.kernels.linear(&*self.team, x, matrix, Epilogue { residual, ..epilogue }, out);
                }
            }
            Matrix::Bf16(matrix) => {
                self.kernels.linear_bf16(&*self.team, &self.as_bf16(x)?, matrix, epilogue, out);
            }
            Matrix::Int8(matrix) => {
                let x = self.as_int8(x, matrix)?;
                self.kernels.linear_int8(&*self.team, x.rows(0..x.len()), matrix, epilogue, out);
            }
            Matrix::Unsettled(unsettled) => {
                unsettled.look_at(x.f32());
                self.kernels.linear(&*self.team, x.f32(), unsettled.matrix(), epilogue, out);
            }
        }
        Ok(())
    }

    /// Rows in bf16: as whoever produced them converted them, or converted now.
    fn as_bf16<'a>(&self, x: &'a Rows<'_>) -> Result<Lent<'a, ScratchRows<Bf16>>> {
        if let Low::Bf16(low) = x.low() {
            return Ok(Lent::Borrowed(low));
        }
        let mut out = self.scratch.bf16(x.f32().len())?;
        self.kernels.convert(&*self.team, x.f32(), x.width(), Converted::Bf16(&mut out));
        Ok(Lent::Own(out))
    }

    /// Rows quantized for a matrix, likewise.
    fn as_int8<'a>(&self, x: &'a Rows<'_>, matrix: &PackedInt8) -> Result<Lent<'a, ScratchInt8>> {
        if let Low::Int8(low) = x.low() {
            return Ok(Lent::Borrowed(low));
        }
        let mut out = self.scratch.int8(matrix, x.count())?;
        self.kernels.convert(&*self.team, x.f32(), x.width(), Converted::Int8(matrix, &mut out));
        Ok(Lent::Own(out))
    }

    /// Norms rows in place, and converts them for who reads them next.
    fn norm<'r>(&self, norm: &LayerNorm, mut rows: Rows<'r>, next: Option<&Linear>) -> Result<Rows<'r>> {
        let LayerNorm { weight, bias, eps } = norm;
        let low = match next.map(|next| &next.matrix) {
            Some(Matrix::Bf16(_)) => {
                let mut low = self.scratch.bf16(rows.f32().len())?;
                let to = Converted::Bf16(&mut low);
                self.kernels.layer_norm_converting(&*self.team, rows.f32_mut(), weight, Some(bias), *eps, to);
                Low::Bf16(low)
            }
            Some(Matrix::Int8(matrix)) => {
                let mut low = self.scratch.int8(matrix, rows.count())?;
                let to = Converted::Int8(matrix, &mut low);
                self.kernels.layer_norm_converting(&*self.team, rows.f32_mut(), weight, Some(bias), *eps, to);
                Low::Int8(low)
            }
            _ => {
                self.kernels.layer_norm_in_place(&*self.team, rows.f32_mut(), weight, Some(bias), *eps);
                Low::None
            }
        };
        rows.set_low(low);
        Ok(rows)
    }
}

impl Ops for Cpu {
    type Embedding = Embedding;
    type Linear = Linear;
    type LayerNorm = LayerNorm;
    type Rows<'r> = Rows<'r>;

    fn load_embedding(&self, table: Tensor) -> Result<Embedding> {
        if self.dtype == Dtype::Float32 {
            return Ok(Embedding::F32(table.data));
        }
        let mut rounded = vec![Bf16::default(); table.data.len()];
        self.kernels.convert(&*self.team, &table.data, table.shape[1], Converted::Bf16(&mut rounded));
        Ok(Embedding::Bf16(rounded))
    }

    fn load_linear(&self, parts: Vec<(Tensor, Tensor)>) -> Result<Linear> {
        Linear::load(self.kernels, &*self.team, self.dtype, parts)
    }

    fn load_head(&self, weight: Tensor, bias: Tensor) -> Result<Linear> {
        Linear::load(self.kernels, &*self.team, Dtype::Float32, vec![(weight, bias)])
    }

    fn load_layer_norm(&self, weight: Tensor, bias: Tensor, eps: f32) -> Result<LayerNorm> {
        Ok(LayerNorm { weight: weight.data, bias: bias.data, eps })
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
        self.cancel.check()?;
        let width = norm.weight.len();
        let tables: Vec<Lookup> = lookups.iter().map(|(table, rows)| Lookup { table: table.table(), rows }).collect();
        let count = lookups.first().map_or(0, |(_, rows)| rows.len());
        let mut out = self.scratch.rows(count, width, keep)?;
        self.kernels.embed(&*self.team, &tables, width, out.f32_mut());
        self.norm(norm, out, next)
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
        let epilogue = Epilogue { bias: Some(&linear.bias), activation, residual: None };
        match (&linear.matrix, reader) {
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
                let mut out = self.scratch.rows(count, width, None)?;
                self.multiply(x, linear, activation, None, out.f32_mut())?;
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
        self.multiply(x, linear, Activation::Identity, Some(residual.f32()), out.f32_mut())?;
        self.norm(norm, out, next)
    }

    fn attention(&self, qkv: &Rows<'_>, attention: &Attention<'_>, next: &Linear) -> Result<Rows<'static>> {
        self.cancel.check()?;
        let (count, hidden) = (qkv.count(), qkv.width() / 3);
        let heads = heads(attention, hidden);
        let (texts, mask) = (attention.texts, attention.mask);
        match (qkv.low(), &next.matrix) {
            (Low::Bf16(qkv), Matrix::Bf16(_)) => {
                let mut out = self.scratch.bf16(count * hidden)?;
                self.kernels.attention_bf16(&*self.team, qkv, texts, mask, heads, &mut out[..]);
                Ok(Rows::low_only(count, hidden, Low::Bf16(out)))
            }
            (Low::Bf16(qkv), _) => {
                let mut out = self.scratch.rows(count, hidden, None)?;
                self.kernels.attention_bf16(&*self.team, qkv, texts, mask, heads, out.f32_mut());
                Ok(out)
            }
            _ => {
                let mut out = self.scratch.rows(count, hidden, None)?;
                self.kernels.attention(&*self.team, qkv.f32(), texts, mask, heads, out.f32_mut());
                Ok(out)
            }
        }
    }

    fn attention_probabilities(&self, qkv: &Rows<'_>, attention: &Attention<'_>, out: &mut [f32]) -> Result<()> {
        self.cancel.check()?;
        let heads = heads(attention, qkv.width() / 3);
        let (texts, mask) = (attention.texts, attention.mask);
        match qkv.low() {
            Low::Bf16(qkv) => self.kernels.attention_probabilities_bf16(&*self.team, qkv, texts, mask, heads, out),
            _ => self.kernels.attention_probabilities(&*self.team, qkv.f32(), texts, mask, heads, out),
        }
        Ok(())
    }

    fn select(&self, x: &Rows<'_>, rows: &[usize]) -> Result<Rows<'static>> {
        let width = x.width();
        let mut out = self.scratch.rows(rows.len(), width, None)?;
        for (out, &row) in out.f32_mut().chunks_exact_mut(width).zip(rows) {
            out.copy_from_slice(&x.f32()[row * width..(row + 1) * width]);
        }
        Ok(out)
    }

    fn read<'a>(&self, x: &'a Rows<'_>) -> Result<Cow<'a, [f32]>> {
        Ok(Cow::Borrowed(x.f32()))
    }
}

fn heads(attention: &Attention<'_>, hidden: usize) -> Heads {
    let dim = hidden / attention.heads;
    Heads { count: attention.heads, dim, scale: 1.0 / (dim as f32).sqrt() }
}
