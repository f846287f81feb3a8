//! The linear layer: a matrix product with what follows it.
//!
//! Blocks, from the outside in, and the memory that each is meant to stay in:
//!
//! - rows of x, about [`ROWS`] at a time, times columns: a task of its own, on any thread ([`block`]);
//! - [`DEPTH`] steps of k: that much of those rows of x stays in the second-level cache (L2) while
//! - one panel of weights after the other comes by. A panel is read once for each tile of rows; the next one is
//!   prefetched meanwhile, so that memory and arithmetic work at the same time;
//! - [`tile`]: a few rows times one panel, in registers, in the precision's own way ([`product`]), or in f32's where the processor has no
//!   instruction for bf16 ([`wide`]).
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
mod wide;

pub use int8::PackedInt8;
pub(crate) use pack::interleave;
pub use pack::{PackedBf16, PackedMatrix, Upcoming};
pub(crate) use product::{Bf16Product, F32Product, Product, Start};
pub(crate) use tile::{Ahead, Tile};

use block::{Block, F32Operands, Operands};
use pack::Panels;

use crate::memory::{Strided, with_scratch};
use crate::output::Element;
use crate::team::{Shared, Team, in_step, piece};
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
/// As many rows a thread are rows of its own, which stay in its core's cache from one operation to the next, rather than panels of its own:
/// 128 rows by two threads take .98 of the time in int8 and .99 in bf16 (Zen 5). Every thread reads all weights then. With fewer rows that
/// costs more than it brings; in f32, where weights are twice as large, too (1.03), and so it must where registers for whole tiles multiply
/// several times as fast.
const OWN_ROWS: usize = 48;
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
    let steps = X::STEPS * w.steps;
    let depths = if Y::EXACT && X::RESUMES && !w.pairs { steps.div_ceil(DEPTH).max(1) } else { 1 };
    // Sums that cannot wait want fewer rows instead, to stay in the cache.
    let most_rows = ROWS * DEPTH / (steps / depths).max(DEPTH);
    let count = w.count::<X::Product>();
    let threads = team.threads().max(1);
    // Neither f32 nor what becomes f32 (`wide`).
    let own_rows = X::Product::NUMBERS > 1 && !w.in_matrices::<X::Product>();
    let cut = Cut::new(threads, rows, most_rows.max(1), count, own_rows);
    let words = w.steps.div_ceil(depths);
    let room = x.room(rows.div_ceil(cut.rows), words);
    let (out, all) = (Shared::new(out), rows);
    team::run(team, cut.tasks(), |task| {
        let rows = piece(rows, cut.rows, in_step(task % cut.rows, cut.rows, threads));
        let panels = |task| piece(count, cut.panels, task / cut.rows);
        // What this thread is likely to do next. A task's first weights would have to be waited for otherwise.
        let then = match (task + threads, epilogue.upcoming) {
            (later, _) if later < cut.tasks() => w.panel::<X::Product>(panels(later).start),
            (later, Some(Upcoming(next))) => {
                let panels = next.count::<X::Product>();
                let parts = Cut::new(threads, all, all.div_ceil(cut.rows), panels, own_rows).panels.max(1);
                next.panel::<X::Product>(piece(panels, parts, (later - cut.tasks()) / cut.rows % parts).start)
            }
            (_, None) => std::ptr::null(),
        };
        let panels = panels(task);
        let block = Block { x, epilogue, out, stride, rows, panels, depths, then };
        match room {
            // Who calls may have this thread's scratch memory (`linear_int8_quantized`).
            0 => X::Product::vectorize(w.kernels, block),
            _ => with_scratch(room, |scratch| {
                X::Product::vectorize(w.kernels, Block { x: x.in_room(&block.rows, words, scratch), ..block });
            }),
        }
    });
}

/// How a product is cut into tasks: each of these parts of its rows times each of these parts of its panels. Tasks of the same panels follow
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    rows: usize,
    panels: usize,
}

impl Cut {
    /// Rows only as far as the caches want it, `most_rows` at a time; panels where that leaves threads without work, since then each
    /// weight is still read only once. With `own_rows`, many rows are cut for the threads as well.
    fn new(threads: usize, rows: usize, most_rows: usize, panels: usize, own_rows: bool) -> Self {
        let parts = rows.div_ceil(most_rows);
        if threads <= 1 {
            return Cut { rows: parts, panels: 1 };
        }
        // As many tasks for each thread, or some would wait for the others' last.
        if parts >= 4 * threads {
            return Cut { rows: parts.next_multiple_of(threads).min(rows), panels: 1 };
        }
        if own_rows && rows >= OWN_ROWS * threads {
            return Cut { rows: parts.next_multiple_of(threads), panels: panels.min(2) };
        }
        // Several for each thread, so that one that starts late or is held up (its core may be half as fast, where others share it) leaves
        // some of its work to others. Of few rows one: the less there is to do with each weight, the more a new start costs.
        let parts_per_thread = if rows < FEW_ROWS { 1 } else { 4 };
        let mut pieces = (parts_per_thread * threads).div_ceil(parts);
        while !(parts * pieces).is_multiple_of(threads) {
            pieces += 1;
        }
        Cut { rows: parts, panels: pieces.min(panels) }
    }

    fn tasks(self) -> usize {
        self.rows * self.panels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn threads_have_as_many_tasks() {
        let cut = |threads, rows, own_rows| Cut::new(threads, rows, 144, 24, own_rows);
        assert_eq!(cut(1, 500, true), Cut { rows: 4, panels: 1 });
        assert_eq!(cut(2, 16, true), Cut { rows: 1, panels: 2 }, "each weight is read once");
        assert_eq!(cut(2, 128, false), Cut { rows: 1, panels: 8 });
        assert_eq!(cut(2, 128, true), Cut { rows: 2, panels: 2 }, "rows of each thread's own");
        assert_eq!(cut(4, 128, true), Cut { rows: 1, panels: 16 }, "too few for that");
        assert_eq!(cut(2, 384, false), Cut { rows: 3, panels: 4 }, "not nine tasks");
        assert_eq!(cut(2, 384, true), Cut { rows: 4, panels: 2 });
        assert_eq!(cut(2, 9 * 144, false), Cut { rows: 10, panels: 1 });
    }

    proptest! {
        #[test]
        fn cuts_fit(
            threads in 1usize..20, rows in 1usize..3000, most_rows in 1usize..200, panels in 1usize..200, own_rows: bool,
        ) {
            let cut = Cut::new(threads, rows, most_rows, panels, own_rows);
            prop_assert!(cut.rows.max(1) <= rows && cut.panels.max(1) <= panels, "no part is empty: {cut:?}");
            prop_assert!(rows.div_ceil(cut.rows) <= most_rows, "rows stay in the cache: {cut:?}");
            let scarce = cut.rows == rows || cut.panels == panels;
            prop_assert!(cut.tasks().is_multiple_of(threads) || scarce, "no thread has more to do: {cut:?}");
        }
    }
}
