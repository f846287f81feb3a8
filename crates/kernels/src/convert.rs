//! Rows on their way from f32 into the precision of the linear layer that will read them.

use crate::bf16::round_row;
use crate::simd::{Simd, Work};
use crate::team::{Shared, Team, piece, row_pieces};
use crate::{Bf16, Kernels, team};

/// What rows are to become, and where.
#[derive(Debug)]
pub enum Converted<'a> {
    /// bf16, as many numbers.
    Bf16(&'a mut [Bf16]),
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
        let pieces = row_pieces(team, rows, 32);
        team::run(team, pieces, |task| {
            let part = piece(rows, pieces, task);
            let x = &x[part.start * width..part.end * width];
            self.vectorize_bf16(ConvertRows { x, width, first: part.start, to });
        });
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
}

impl<'a> Target<'a> {
    /// For `len` numbers.
    pub(crate) fn new(kernels: Kernels, to: Converted<'a>, len: usize) -> Self {
        match to {
            Converted::Bf16(to) => {
                assert_eq!(to.len(), len, "convert: numbers in bf16");
                Target::Bf16(Shared::new(to))
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
        }
    }
}
