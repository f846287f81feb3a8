//! The linear layer in int8, with a few channels kept in f32.

mod pack;
mod product;

pub use pack::PackedInt8;

use pack::Columns;
pub(super) use product::Int8Product;

use super::block::Operands;
use super::pack::Panels;
use super::product::Start;
use super::{Epilogue, ROWS, multiply, rows};
use crate::convert::{Target, convert_rows};
use crate::memory::{LINE, with_scratch};
use crate::quantized::Int8Rows;
use crate::simd::Simd;
use crate::team::{in_step, piece};
use crate::{Converted, Kernels, Output, QuantizedRows, Solo, Team, team};

/// Rows that are worth reading all weights for.
const TOGETHER: usize = 12;

impl Kernels {
    /// [`linear`](Self::linear) with x and W in int8. Products of whole numbers, of x without its zero point, are added up
    /// exactly, in 32 bits; then, in f32,
    /// `activation(bias + sum · scale of row · scale of column + Σ x · W of the channels kept) + residual`.
    ///
    /// # Panics
    /// As [`linear`](Self::linear), or if x was not quantized for `w`.
    pub fn linear_int8<'a>(
        self,
        team: &dyn Team,
        x: Int8Rows<'_>,
        w: &PackedInt8,
        epilogue: Epilogue<'_>,
        out: impl Into<Output<'a>>,
    ) {
        linear(self, team, x, w, epilogue, out.into());
    }
}

/// Generic in nothing, so compiled here once and not wherever it is called.
fn linear(kernels: Kernels, team: &dyn Team, x: Int8Rows<'_>, w: &PackedInt8, epilogue: Epilogue<'_>, out: Output<'_>) {
    let rows = rows(kernels, &w.panels, out.len(), w.outputs());
    assert_eq!((x.inp, x.kept), (w.inputs(), w.outliers().len()), "linear: x quantized for another matrix");
    assert_eq!(x.len(), rows, "linear: rows of x");
    match out {
        Output::F32(out) => multiply(team, Int8Operands { x, w }, rows, epilogue, out),
        Output::Bf16(out) => multiply(team, Int8Operands { x, w }, rows, epilogue, out),
    }
}

impl Kernels {
    /// [`linear_int8`](Self::linear_int8) followed by [`convert`](Self::convert) for the matrix `next`: the same bits, but the
    /// results in f32 exist only for some rows at a time, in the cache.
    ///
    /// # Panics
    /// As both.
    pub fn linear_int8_quantized(
        self,
        team: &dyn Team,
        x: Int8Rows<'_>,
        w: &PackedInt8,
        epilogue: Epilogue<'_>,
        next: &PackedInt8,
        to: &mut QuantizedRows,
    ) {
        let (rows, width) = (x.len(), w.outputs());
        assert_eq!(width, next.inputs(), "linear: results as wide as the next layer's inputs");
        assert!(epilogue.residual.is_none(), "linear: no residual before quantization");
        let threads = team.threads().max(1);
        if rows < 2 * TOGETHER * threads && threads > 1 {
            // Too few for each thread to have rows of its own: columns are split.
            return with_scratch(rows * width, |scratch| {
                self.linear_int8(team, x, w, epilogue, &mut *scratch);
                self.convert(team, scratch, width, Converted::Int8(next, to));
            });
        }
        // As many as any product takes at a time. Of fewer the results would stay in L2, but all weights would come by for each
        // piece, which costs more: 3 % of BERT-base's wide layer.
        let pieces = rows.div_ceil(ROWS).next_multiple_of(threads);
        let to = Target::new(self, Converted::Int8(next, to), rows * width);
        team::run(team, pieces, |task| {
            let part = piece(rows, pieces, in_step(task, pieces, threads));
            with_scratch(part.len() * width, |scratch| {
                self.linear_int8(&Solo, x.part(part.clone()), w, epilogue, &mut *scratch);
                convert_rows(self, scratch, width, part.start, to);
            });
        });
    }
}

#[derive(Clone, Copy)]
struct Int8Operands<'a> {
    x: Int8Rows<'a>,
    w: &'a PackedInt8,
}

impl Operands for Int8Operands<'_> {
    type Product = Int8Product;
    const ROUGH: bool = true;
    const RESUMES: bool = false;

    #[inline(always)]
    fn panels(&self) -> &Panels {
        &self.w.panels
    }

    #[inline(always)]
    fn row(&self, row: usize, k: usize) -> *const u32 {
        self.x.words.as_ptr().wrapping_add(row * self.w.panels.steps + k)
    }

    #[inline(always)]
    fn expect<S: Simd>(&self, s: S, panel: usize) {
        let Columns { scales, starts, kept, outliers, .. } = &self.w.columns;
        for line in (0..S::PANEL).step_by(LINE) {
            let column = panel * S::PANEL + line;
            s.prefetch(starts.as_ptr().wrapping_add(column).cast());
            s.prefetch(scales.as_ptr().wrapping_add(column).cast());
        }
        for line in (0..S::PANEL * outliers.len()).step_by(LINE) {
            s.prefetch(kept.as_ptr().wrapping_add(panel * S::PANEL * outliers.len() + line).cast());
        }
    }

    #[inline(always)]
    fn product(&self, row: usize, panel: usize, bias: Start) -> Int8Product {
        let Columns { scales, starts, kept, outliers, panel: width, .. } = &self.w.columns;
        let column = panel * width;
        Int8Product {
            starts: starts.as_ptr().wrapping_add(column),
            scales: scales.as_ptr().cast::<f32>().wrapping_add(column),
            bias: bias.at,
            row_scales: self.x.scales.as_ptr().wrapping_add(row),
            row_zeros: self.x.zeros.as_ptr().wrapping_add(row),
            x: self.x.outliers.as_ptr().wrapping_add(row * outliers.len()),
            kept: kept.as_ptr().cast::<f32>().wrapping_add(column * outliers.len()),
            outliers: outliers.len(),
        }
    }
}
