//! What happens to rows between two matrix products, each in one pass over memory.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor};

use crate::gpu::{Gpu, type_name};

/// An activation that there is a kernel for: `Activation` in rows.cuh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Activation {
    /// x
    Identity,
    /// x·(1 + erf(x/√2))/2
    Gelu,
    /// x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2
    GeluTanh,
    /// x·sigmoid(1.702·x)
    QuickGelu,
    /// max(x, 0)
    Relu,
    /// x·sigmoid(x)
    Silu,
    /// tanh x
    Tanh,
}

/// What is summed up and normed, and how. The default: nothing.
#[derive(Default)]
pub struct Norm<'a> {
    /// `[rows, width]`, of the weights' type, and what is added to each row.
    pub x: Option<&'a Tensor>,
    /// `[width]`, of the weights' type.
    pub bias: Option<&'a Tensor>,
    /// `[rows, width]` in f32.
    pub residual: Option<&'a Tensor>,
    /// Up to 4 tables of the weights' type, and which row of it each row takes (u32), added in this order.
    pub lookups: &'a [(&'a Tensor, Tensor)],
    /// Weight and bias `[width]` of the norm in f32, and its epsilon. None: the sum is not normed.
    pub norm: Option<(&'a Tensor, Option<&'a Tensor>, f32)>,
    /// Whether the result is wanted in f32.
    pub wide: bool,
    /// The type in which it is wanted, which is the weights'.
    pub narrow: Option<DType>,
}

/// Which rows make up which, as `bert-layers` plans it.
#[derive(Debug, Default)]
pub struct Terms {
    /// Where the terms of each target end; they start where those of the target before end.
    pub ends: Vec<u32>,
    /// The row of each term.
    pub rows: Vec<u32>,
    /// Its weight.
    pub weights: Vec<f32>,
    /// Whether a target is the largest of its terms' numbers, whatever their weights, and not the weighted sum.
    pub largest: bool,
}

/// `Activate` in rows.cuh.
#[repr(C)]
struct ActivateParameters {
    x: u64,
    bias: u64,
    out: u64,
    rows: i64,
    width: i32,
    activation: i32,
    gated: i32,
}

/// `Norm` in rows.cuh.
#[repr(C)]
struct NormParameters {
    x: u64,
    bias: u64,
    residual: u64,
    tables: [u64; 4],
    ids: [u64; 4],
    weight: u64,
    offset: u64,
    wide: u64,
    narrow: u64,
    width: i32,
    eps: f32,
}

/// `Fold` in rows.cuh.
#[repr(C)]
struct FoldParameters {
    x: u64,
    ends: u64,
    rows: u64,
    weights: u64,
    out: u64,
    width: i32,
    largest: i32,
}

// SAFETY: numbers only, in C's layout.
unsafe impl DeviceRepr for ActivateParameters {}
// SAFETY: as above.
unsafe impl DeviceRepr for NormParameters {}
// SAFETY: as above.
unsafe impl DeviceRepr for FoldParameters {}

/// Threads of a block, at most.
const THREADS: usize = 256;

/// The names of the kernels.
pub(crate) fn kernels() -> Vec<String> {
    let of_type = |dtype| ["activate", "norm"].map(|what| [4, 1].map(|numbers| format!("{what}_{dtype}_{numbers}")));
    let mut names: Vec<String> = ["f32", "f16", "bf16"].into_iter().flat_map(of_type).flatten().collect();
    names.push("fold_f32".into());
    names
}

/// How many numbers a thread takes at once.
fn at_once(width: usize) -> usize {
    if width.is_multiple_of(4) { 4 } else { 1 }
}

impl Gpu {
    /// `activation(x + bias)`; gated, `activation(x₁ + bias₁) · (x₂ + bias₂)` of the two halves of each row.
    ///
    /// # Errors
    /// Where shapes or types do not fit, or the device fails.
    pub fn activate(&self, x: &Tensor, bias: Option<&Tensor>, activation: Activation, gated: bool) -> Result<Tensor> {
        let ((rows, columns), dtype) = (x.dims2()?, x.dtype());
        if bias.is_some_and(|bias| bias.dims() != [columns] || bias.dtype() != dtype) || (gated && columns % 2 != 0) {
            candle_core::bail!("a bias does not fit [{rows}, {columns}]");
        }
        let width = if gated { columns / 2 } else { columns };
        let out = self.empty((rows, width), dtype)?;
        let parameters = ActivateParameters {
            x: self.address(x)?,
            bias: self.address_of(bias)?,
            out: self.address(&out)?,
            rows: rows as i64,
            width: i32::try_from(width).map_err(candle_core::Error::wrap)?,
            activation: activation as i32,
            gated: i32::from(gated),
        };
        let numbers = at_once(width);
        let kernel = format!("activate_{}_{numbers}", type_name(dtype)?);
        // SAFETY: shapes and types were checked.
        unsafe { self.launch(&kernel, ((rows * width).div_ceil(THREADS * numbers), 1), THREADS, 0, &parameters)? };
        Ok(out)
    }

    /// The sum of what is there, normed: in f32, and in the weights' type.
    ///
    /// # Errors
    /// Where shapes or types do not fit, or the device fails.
    pub fn norm(
        &self,
        rows: usize,
        width: usize,
        of: &Norm<'_>,
        dtype: DType,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let is = |tensor: Option<&Tensor>, dims: &[usize], dtype| {
            tensor.is_none_or(|tensor| tensor.dims() == dims && tensor.dtype() == dtype)
        };
        let (weight, offset) = of.norm.map_or((None, None), |(weight, offset, _)| (Some(weight), offset));
        let fits = is(of.x, &[rows, width], dtype)
            && is(of.bias, &[width], dtype)
            && is(of.residual, &[rows, width], DType::F32)
            && is(weight, &[width], DType::F32)
            && is(offset, &[width], DType::F32)
            && of.narrow.is_none_or(|narrow| narrow == dtype)
            && of.lookups.len() <= 4
            && of.lookups.iter().all(|(table, ids)| {
                is(Some(ids), &[rows], DType::U32) && is(Some(table), &[table.dim(0).unwrap_or(0), width], dtype)
            });
        if !fits {
            candle_core::bail!("what is normed does not fit [{rows}, {width}]");
        }
        let wide = if of.wide { Some(self.empty((rows, width), DType::F32)?) } else { None };
        let narrow = of.narrow.map(|narrow| self.empty((rows, width), narrow)).transpose()?;
        let (mut tables, mut ids) = ([0; 4], [0; 4]);
        for (i, (table, rows)) in of.lookups.iter().enumerate() {
            (tables[i], ids[i]) = (self.address(table)?, self.address(rows)?);
        }
        let parameters = NormParameters {
            x: self.address_of(of.x)?,
            bias: self.address_of(of.bias)?,
            residual: self.address_of(of.residual)?,
            tables,
            ids,
            weight: self.address_of(weight)?,
            offset: self.address_of(offset)?,
            wide: self.address_of(wide.as_ref())?,
            narrow: self.address_of(narrow.as_ref())?,
            width: i32::try_from(width).map_err(candle_core::Error::wrap)?,
            eps: of.norm.map_or(0.0, |(_, _, eps)| eps),
        };
        let numbers = at_once(width);
        let kernel = format!("norm_{}_{numbers}", type_name(dtype)?);
        let shared = (32 + width) * size_of::<f32>();
        if shared > 48 << 10 {
            candle_core::bail!("rows of {width} are too wide for this device's norm");
        }
        let threads = width.div_ceil(numbers).next_multiple_of(32).clamp(32, THREADS);
        // SAFETY: shapes and types were checked; ids are within their tables, which the engine checks before any work.
        unsafe { self.launch(&kernel, (rows, 1), threads, shared, &parameters)? };
        Ok((wide, narrow))
    }

    /// Few rows of many: x is `[rows, width]` in f32, the result `[targets, width]`.
    ///
    /// # Errors
    /// Where a term is of a row that is not there, or the device fails.
    pub fn fold(&self, x: &Tensor, terms: &Terms) -> Result<Tensor> {
        let (count, width) = x.dims2()?;
        let Terms { ends, rows, weights, largest } = terms;
        let right = ends.is_sorted()
            && ends.last().is_none_or(|&end| end as usize == rows.len())
            && rows.len() == weights.len()
            && rows.iter().all(|&row| (row as usize) < count);
        if !right || x.dtype() != DType::F32 {
            candle_core::bail!("terms do not fit [{count}, {width}]");
        }
        let device = self.device();
        let out = self.empty((ends.len(), width), DType::F32)?;
        let (ends, rows) = (Tensor::new(ends.as_slice(), &device)?, Tensor::new(rows.as_slice(), &device)?);
        let weights = Tensor::new(weights.as_slice(), &device)?;
        let parameters = FoldParameters {
            x: self.address(x)?,
            ends: self.address(&ends)?,
            rows: self.address(&rows)?,
            weights: self.address(&weights)?,
            out: self.address(&out)?,
            width: i32::try_from(width).map_err(candle_core::Error::wrap)?,
            largest: i32::from(*largest),
        };
        // SAFETY: shapes, types and rows were checked; the lists are given back after the kernel, in the order of the stream.
        unsafe { self.launch("fold_f32", (terms.ends.len(), 1), THREADS, 0, &parameters)? };
        Ok(out)
    }
}
