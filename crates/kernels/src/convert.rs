//! Rows on their way from f32 into the precision of the linear layer that will read them.

use crate::bf16::round_row;
use crate::quantized::{Code, quantize_row};
use crate::simd::{Simd, Work};
use crate::team::{LEAST_ROWS, Shared, Team, run_rows};
use crate::{Bf16, Kernels, PackedInt8, QuantizedRows};

/// What rows are to become, and where.
#[derive(Debug)]
pub enum Converted<'a> {
    /// bf16, as many numbers.
    Bf16(&'a mut [Bf16]),
    /// int8, for that matrix, in as many rows as have been [prepared](QuantizedRows::prepare).
    Int8(&'a PackedInt8, &'a mut QuantizedRows),
}

impl Kernels {
    /// Converts rows of `width` numbers.
    ///
    /// # Panics
    /// If the sizes do not fit each other.
    pub fn convert(self, team: &dyn Team, x: &[f32], width: usize, to: Converted<'_>) {
        let to = Target::new(self, to, x.len());
        if x.is_empty() {
            return;
        }
        assert!(width > 0 && x.len().is_multiple_of(width), "convert: rows of {width} in {}", x.len());
        let rows = x.len() / width;
        run_rows(team, rows, LEAST_ROWS, |part| {
            let x = &x[part.start * width..part.end * width];
            convert_rows(self, x, width, part.start, to);
        });
    }
}

/// Converts rows of which the first is the target's row `first`.
pub(crate) fn convert_rows(kernels: Kernels, x: &[f32], width: usize, first: usize, to: Target<'_>) {
    if width > 0 {
        // All sets agree on the bits: it is only that this one may have an instruction for bf16.
        kernels.vectorize_bf16(ConvertRows { x, width, first, to });
    }
}

struct ConvertRows<'a> {
    x: &'a [f32],
    width: usize,
    first: usize,
    to: Target<'a>,
}

impl Work for ConvertRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, row) in self.x.chunks_exact(self.width).enumerate() {
            // SAFETY: pieces do not overlap, so this task alone has this row.
            unsafe { self.to.row(s, self.first + i, row) };
        }
    }
}

/// [`Converted`], shared among the tasks that write it.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    Bf16(Shared<'a, Bf16>),
    Int8 {
        w: &'a PackedInt8,
        words: Shared<'a, u32>,
        scales: Shared<'a, f32>,
        zeros: Shared<'a, i32>,
        outliers: Shared<'a, f32>,
    },
}

impl<'a> Target<'a> {
    /// For `len` numbers.
    pub(crate) fn new(kernels: Kernels, to: Converted<'a>, len: usize) -> Self {
        match to {
            Converted::Bf16(to) => {
                assert_eq!(to.len(), len, "convert: numbers in bf16");
                Target::Bf16(Shared::new(to))
            }
            Converted::Int8(w, to) => {
                assert_eq!(w.kernels(), kernels, "convert: weights packed for another instruction set");
                assert_eq!(to.len() * w.inputs(), len, "convert: rows of {}", w.inputs());
                assert!(to.fits(w, to.len()), "convert: rows prepared for another matrix");
                let (words, scales, zeros, outliers) = to.parts();
                Target::Int8 {
                    w,
                    words: Shared::new(words),
                    scales: Shared::new(scales),
                    zeros: Shared::new(zeros),
                    outliers: Shared::new(outliers),
                }
            }
        }
    }

    /// Writes one row.
    ///
    /// # Safety
    /// There is that row, rows are as long as `x`, and nobody else writes it.
    #[inline(always)]
    pub(crate) unsafe fn row<S: Simd>(self, s: S, row: usize, x: &[f32]) {
        match self {
            Target::Bf16(to) => {
                // SAFETY: the caller's promise.
                round_row(s, x, unsafe { to.part(row * x.len()..(row + 1) * x.len()) });
            }
            Target::Int8 { w, words, scales, zeros, outliers } => {
                assert_eq!(x.len(), w.inputs());
                let (steps, kept) = (x.len().div_ceil(4), w.outliers());
                // SAFETY: the caller's promise; words are four bytes each, of any value.
                unsafe {
                    let words = words.part(row * steps..(row + 1) * steps);
                    let bytes = std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), size_of_val(words));
                    let Code { scale, zero } = quantize_row(s, x, w.counts(), w.offset(), bytes);
                    scales.at(row).write(scale);
                    zeros.at(row).write(zero);
                    for (o, &k) in kept.iter().enumerate() {
                        outliers.at(row * kept.len() + o).write(x[k]);
                    }
                }
            }
        }
    }
}
