//! The linear layer: a matrix product with what follows it.
//!
//! Blocks, from the outside in, and the memory that each is meant to stay in:
//!
//! - rows of x, about [`ROWS`] at a time, times columns: a task of its own, on any thread;
//! - [`DEPTH`] steps of k: that much of those rows of x stays in the second-level cache (L2) while
//! - one panel of weights after the other comes by. A panel is read once for each tile of rows; the next one is
//!   prefetched meanwhile, so that memory and arithmetic work at the same time;
//! - [`tile`]: a few rows times one panel, in registers.
//!
//! None of this changes a result: each element is one chain of multiply-adds over ascending k. Where k is cut into blocks,
//! the unfinished sum waits in `out`, exactly, and is continued.

mod pack;
mod tile;

pub use pack::PackedMatrix;
pub(crate) use tile::{Ahead, STEP, Tile};

use std::ops::Range;

use crate::memory::LINE;
use crate::simd::{MOST_TILE_ROWS, Simd, WIDEST, Work};
use crate::team::{Shared, Team, piece};
use crate::{Activation, Kernels, team};

/// What happens to a product before it is stored: `activation(product + bias) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One for each output column.
    pub bias: Option<&'a [f32]>,
    /// Applied to each element.
    pub activation: Activation,
    /// As large as the output.
    pub residual: Option<&'a [f32]>,
}

/// The most rows of x in a task: 144 rows of [`DEPTH`] floats are 432 KiB, and two panels 192 KiB, of a 1 MiB L2.
const ROWS: usize = 144;
/// The most steps of k at a time.
const DEPTH: usize = 768;

impl Kernels {
    /// `out = activation(x · Wᵀ + bias) + residual`, for x of rows × `w.inputs()` and out of rows × `w.outputs()`.
    ///
    /// # Panics
    /// If the sizes do not fit each other, or `w` was packed for another instruction set.
    pub fn linear(self, team: &dyn Team, x: &[f32], w: &PackedMatrix, epilogue: Epilogue<'_>, out: &mut [f32]) {
        assert_eq!(w.kernels, self, "linear: weights packed for another instruction set");
        if out.is_empty() {
            return;
        }
        assert!(w.out > 0 && out.len().is_multiple_of(w.out), "linear: rows of {} in {}", w.out, out.len());
        let rows = out.len() / w.out;
        assert_eq!(x.len(), rows * w.inp, "linear: x of {rows} rows");
        if let Some(bias) = epilogue.bias {
            assert_eq!(bias.len(), w.out, "linear: bias");
        }
        if let Some(residual) = epilogue.residual {
            assert_eq!(residual.len(), out.len(), "linear: residual");
        }

        let panels = w.out.div_ceil(self.panel());
        let (row_parts, panel_parts) = split(team.threads(), rows, panels);
        let out = Shared::new(out);
        team::run(team, row_parts * panel_parts, |task| {
            self.vectorize(Block {
                x,
                w,
                epilogue,
                out,
                rows: piece(rows, row_parts, task / panel_parts),
                panels: piece(panels, panel_parts, task % panel_parts),
            });
        });
    }
}

/// Into how many parts to cut rows and panels. Rows only as far as the caches want it; columns where that leaves threads
/// without work, since then each weight is still read only once.
fn split(threads: usize, rows: usize, panels: usize) -> (usize, usize) {
    let row_parts = rows.div_ceil(ROWS);
    if threads <= 1 || row_parts >= 4 * threads {
        return (row_parts, 1);
    }
    // Two for each thread, so that one that starts late or is held up leaves some of its work to others.
    let panel_parts = (2 * threads).div_ceil(row_parts);
    (row_parts, panel_parts.min(panels))
}

/// Some rows times some panels, on one thread.
struct Block<'a> {
    x: &'a [f32],
    w: &'a PackedMatrix,
    epilogue: Epilogue<'a>,
    out: Shared<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

/// A tile's results on their way from the registers to `out`.
#[repr(align(64))]
struct Buffer([f32; MOST_TILE_ROWS * 2 * WIDEST]);

impl Work for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Block { x, w, rows, panels, .. } = &self;
        let mut buffer = Buffer([0.0; MOST_TILE_ROWS * 2 * WIDEST]);
        let tiles = rows.len().div_ceil(S::TILE_ROWS);
        let depths = w.inp.div_ceil(DEPTH).max(1);
        let weights = w.panels.as_slice().as_ptr();

        for part in 0..depths {
            let ks = piece(w.inp, depths, part);
            let (first, last) = (part == 0, part + 1 == depths);
            for panel in panels.clone() {
                let at = |panel: usize, k: usize| weights.wrapping_add((panel * w.inp + k) * S::PANEL);
                // The lines of the next panel, shared among the tiles of this one.
                let (next, lines_per_step) = match (panel + 1 < panels.end, last) {
                    (true, _) => (at(panel + 1, ks.start), (STEP * S::PANEL).div_ceil(LINE * tiles)),
                    (false, false) => (at(panels.start, ks.end), (STEP * S::PANEL).div_ceil(LINE * tiles)),
                    (false, true) => (weights, 0),
                };
                let steps = ks.len().div_ceil(STEP);
                for tile in 0..tiles {
                    let part = piece(rows.len(), tiles, tile);
                    let place = Place {
                        rows: rows.start + part.start..rows.start + part.end,
                        columns: panel * S::PANEL..w.out.min((panel + 1) * S::PANEL),
                    };
                    // SAFETY: this task alone has these rows and columns of out (part of `linear`'s split); the tile
                    // reads rows and a panel that exist, as `linear` has checked the sizes.
                    unsafe {
                        if !first {
                            self.fetch(s, &place, &mut buffer);
                        }
                        let ahead = next.wrapping_add(tile * lines_per_step * steps * LINE);
                        Tile {
                            a: x.as_ptr().add(place.rows.start * w.inp + ks.start),
                            a_stride: w.inp,
                            b: at(panel, ks.start),
                            depth: ks.len(),
                            c: buffer.0.as_mut_ptr(),
                            c_stride: S::PANEL,
                            resume: !first,
                            ahead: Ahead { start: ahead, lines_per_step },
                        }
                        .run_rows(s, part.len());
                        if last {
                            self.finish(s, &place, &mut buffer);
                        }
                        self.store(s, &place, &buffer, last);
                    }
                }
            }
        }
    }
}

/// Where a tile lies in `out`.
struct Place {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Block<'_> {
    /// Brings unfinished sums back from `out`.
    ///
    /// # Safety
    /// The place lies in out and is this task's alone.
    #[inline(always)]
    unsafe fn fetch<S: Simd>(&self, s: S, place: &Place, buffer: &mut Buffer) {
        for (r, row) in place.rows.clone().enumerate() {
            for (v, lanes) in vectors(S::WIDTH, place.columns.len()) {
                let from = self.out.at(row * self.w.out + place.columns.start + v * S::WIDTH);
                // SAFETY: inside out, by the caller's promise; inside the buffer, as it holds the largest tile.
                unsafe {
                    let sums = s.load_first(from, lanes, 0.0);
                    s.store(buffer.0.as_mut_ptr().add(r * S::PANEL + v * S::WIDTH), sums);
                }
            }
        }
    }

    /// Bias and activation.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, place: &Place, buffer: &mut Buffer) {
        let used = &mut buffer.0[..place.rows.len() * S::PANEL];
        if let Some(bias) = self.epilogue.bias {
            let bias = &bias[place.columns.clone()];
            for (v, lanes) in vectors(S::WIDTH, bias.len()) {
                // SAFETY: `lanes` floats of bias follow v · WIDTH; v < 2, so the places in the buffer are inside rows.
                unsafe {
                    let bias = s.load_first(bias.as_ptr().add(v * S::WIDTH), lanes, 0.0);
                    for r in 0..place.rows.len() {
                        let at = used.as_mut_ptr().add(r * S::PANEL + v * S::WIDTH);
                        s.store(at, s.add(s.load(at), bias));
                    }
                }
            }
        }
        self.epilogue.activation.apply(s, used);
    }

    /// Writes to `out`, adding the residual if the sums are finished.
    ///
    /// # Safety
    /// As for [`fetch`](Self::fetch).
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, place: &Place, buffer: &Buffer, last: bool) {
        let residual = if last { self.epilogue.residual } else { None };
        for (r, row) in place.rows.clone().enumerate() {
            for (v, lanes) in vectors(S::WIDTH, place.columns.len()) {
                let at = row * self.w.out + place.columns.start + v * S::WIDTH;
                // SAFETY: inside the buffer, as it holds the largest tile; inside out and the residual, which is as
                // large, by the caller's promise.
                unsafe {
                    let mut result = s.load(buffer.0.as_ptr().add(r * S::PANEL + v * S::WIDTH));
                    if let Some(residual) = residual {
                        result = s.add(result, s.load_first(residual.as_ptr().add(at), lanes, 0.0));
                    }
                    if lanes == S::WIDTH {
                        s.store(self.out.at(at), result);
                    } else {
                        s.store_first(self.out.at(at), lanes, result);
                    }
                }
            }
        }
    }
}

/// The vectors that `columns` ≤ 2 · `width` columns need, and how many lanes of each.
#[inline(always)]
fn vectors(width: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..columns.div_ceil(width)).map(move |v| (v, width.min(columns - v * width)))
}
