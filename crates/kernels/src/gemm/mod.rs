//! The linear layer: a matrix product with what follows it.
//!
//! Blocks, from the outside in, and the memory that each is meant to stay in:
//!
//! - rows of x, about [`ROWS`] at a time, times columns: a task of its own, on any thread ([`block`]);
//! - [`DEPTH`] steps of k: that much of those rows of x stays in the second-level cache (L2) while
//! - one panel of weights after the other comes by. A panel is read once for each tile of rows; the next one is
//!   prefetched meanwhile, so that memory and arithmetic work at the same time;
//! - [`tile`]: a few rows times one panel, in registers, in the precision's own way ([`product`]).
//!
//! None of this changes a result: each element is one chain of multiply-adds over ascending k. Where k is cut into blocks,
//! the unfinished sum waits in `out`, exactly, and is continued.

mod bf16;
mod block;
mod gated;
mod int8;
mod pack;
mod product;
mod tile;

pub use int8::PackedInt8;
pub(crate) use pack::interleave;
pub use pack::{PackedBf16, PackedMatrix, Upcoming};
pub(crate) use product::{Bf16Product, F32Product, Product, Start};
pub(crate) use tile::{Ahead, Tile};

use block::{Block, F32Operands, Operands};
use pack::Panels;

use crate::memory::Strided;
use crate::output::Element;
use crate::team::{Shared, Team, piece};
use crate::{Activation, Kernels, team};

/// What a product starts with, and what happens to it before it is stored: `activation(bias + product) + residual`; with a
/// [gated](PackedMatrix::pack_gated) matrix, `activation(bias₁ + product₁) · (bias₂ + product₂) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One for each output column; with a gated matrix two, those of the first half before those of the second.
    pub bias: Option<&'a [f32]>,
    /// Applied to each element.
    pub activation: Activation,
    /// As large as the output.
    pub residual: Option<&'a [f32]>,
    /// What comes after, if that is known; it changes no number.
    pub upcoming: Option<Upcoming<'a>>,
}

impl Epilogue<'_> {
    /// Whether anything happens to a finished sum.
    fn follows(&self) -> bool {
        self.activation != Activation::Identity || self.residual.is_some()
    }
}

/// The most rows of x in a task: 144 rows of [`DEPTH`] steps are 432 KiB, and two panels 192 KiB, of a 1 MiB L2.
const ROWS: usize = 144;
/// Fewer rows than these take less time than their weights take to come from memory.
const FEW_ROWS: usize = 64;
/// The most steps of k at a time.
const DEPTH: usize = 768;

impl Kernels {
    /// `out = activation(bias + x · Wᵀ) + residual`, for x of rows × `w.inputs()` and out of rows × `w.outputs()`.
    ///
    /// # Panics
    /// If the sizes do not fit each other, or `w` was packed for another instruction set.
    pub fn linear(self, team: &dyn Team, x: &[f32], w: &PackedMatrix, epilogue: Epilogue<'_>, out: &mut [f32]) {
        let (x, out) = (Strided { numbers: x, stride: w.inputs() }, Strided { numbers: out, stride: w.outputs() });
        self.linear_strided(team, x, w, epilogue, out);
    }

    /// [`linear`](Self::linear) from rows to rows that need not touch each other. A residual's rows lie as those of `out`.
    ///
    /// # Panics
    /// As there, or if rows overlap.
    pub fn linear_strided(
        self,
        team: &dyn Team,
        x: Strided<&[f32]>,
        w: &PackedMatrix,
        epilogue: Epilogue<'_>,
        out: Strided<&mut [f32]>,
    ) {
        assert!(x.stride >= w.inputs() && out.stride >= w.outputs(), "linear: rows overlap");
        let rows = rows(self, &w.panels, out.numbers.len(), out.stride);
        assert_eq!(x.numbers.len(), rows * x.stride, "linear: x of {rows} rows");
        multiply(team, F32Operands { x, panels: &w.panels }, rows, epilogue, out.numbers);
    }
}

/// How many rows an output of that length has.
fn rows(kernels: Kernels, w: &Panels, len: usize, stride: usize) -> usize {
    assert_eq!(w.kernels, kernels, "linear: weights packed for another instruction set");
    if len == 0 {
        return 0;
    }
    assert!(stride > 0 && len.is_multiple_of(stride), "linear: rows of {stride} in {len}");
    len / stride
}

/// The linear layer of any precision.
fn multiply<X: Operands + Sync, Y: Element>(team: &dyn Team, x: X, rows: usize, epilogue: Epilogue<'_>, out: &mut [Y]) {
    if rows == 0 {
        return;
    }
    let stride = out.len() / rows;
    let w = x.panels();
    if let Some(bias) = epilogue.bias {
        assert_eq!(bias.len(), if w.pairs { 2 * w.out } else { w.out }, "linear: bias");
    }
    if let Some(residual) = epilogue.residual {
        assert_eq!(residual.len(), out.len(), "linear: residual");
    }
    let depths = if Y::EXACT && X::RESUMES && !w.pairs { w.steps.div_ceil(DEPTH).max(1) } else { 1 };
    // Sums that cannot wait want fewer rows instead, to stay in the cache.
    let most_rows = ROWS * DEPTH / (w.steps / depths).max(DEPTH);
    let count = w.count::<X::Product>();
    let threads = team.threads().max(1);
    let (row_parts, panel_parts) = split(threads, rows, most_rows.max(1), count);
    let (out, all, tasks) = (Shared::new(out), rows, row_parts * panel_parts);
    team::run(team, tasks, |task| {
        let (rows, panels) =
            (piece(rows, row_parts, task / panel_parts), piece(count, panel_parts, task % panel_parts));
        // What this thread is likely to do next. A task's first weights would have to be waited for otherwise.
        let then = match (task + threads, epilogue.upcoming) {
            (later, _) if later < tasks => w.panel::<X::Product>(piece(count, panel_parts, later % panel_parts).start),
            (later, Some(Upcoming(next))) => {
                let parts = parts_of_panels(threads, all, row_parts);
                next.panel::<X::Product>(piece(next.count::<X::Product>(), parts, (later - tasks) % parts).start)
            }
            (_, None) => std::ptr::null(),
        };
        X::Product::vectorize(w.kernels, Block { x, epilogue, out, stride, rows, panels, depths, then });
    });
}

/// Into how many parts to cut rows and panels. Rows only as far as the caches want it; columns where that leaves threads
/// without work, since then each weight is still read only once.
fn split(threads: usize, rows: usize, most_rows: usize, panels: usize) -> (usize, usize) {
    let row_parts = rows.div_ceil(most_rows);
    (row_parts, parts_of_panels(threads, rows, row_parts).min(panels))
}

fn parts_of_panels(threads: usize, rows: usize, row_parts: usize) -> usize {
    if threads <= 1 || row_parts >= 4 * threads {
        return 1;
    }
    // Several for each thread, so that one that starts late or is held up (its core may be half as fast, where others share it) leaves
    // some of its work to others. Of few rows one: the less there is to do with each weight, the more a new start costs.
    let parts_per_thread = if rows < FEW_ROWS { 1 } else { 4 };
    (parts_per_thread * threads).div_ceil(row_parts)
}
