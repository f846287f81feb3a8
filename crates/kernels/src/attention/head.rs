//! One head of one text: the task that attention is made of.

use std::ops::Range;

use super::Heads;
use crate::gemm::{Ahead, Tile};
use crate::math::exp;
use crate::memory::LINE;
use crate::simd::{MOST_TILE_ROWS, Simd, WIDEST, Work};
use crate::team::Shared;

/// Some queries of one head of one text.
pub(super) struct Head<'a> {
    pub qkv: &'a [f32],
    pub heads: Heads,
    pub head: usize,
    /// The rows that may be attended to.
    pub keys: &'a [usize],
    /// The rows to compute.
    pub queries: Range<usize>,
    pub out: Shared<'a>,
    pub layout: Layout,
}

/// How a task's scratch memory is divided, in floats: keys, values, then a tile's scores.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    keys: usize,
    values: usize,
    /// From one query's scores to the next one's.
    stride: usize,
}

impl Layout {
    pub(super) fn new(keys: usize, dim: usize, panel: usize) -> Self {
        let padded = keys.next_multiple_of(panel);
        // One cache line more than needed: rows a power of two apart would all want the same places in the cache.
        Layout { keys: padded * dim, values: dim.next_multiple_of(panel) * keys, stride: padded + LINE }
    }

    pub(super) fn len(self) -> usize {
        self.keys + self.values + MOST_TILE_ROWS * self.stride
    }
}

pub(super) struct OnScratch<'a> {
    pub work: Head<'a>,
    /// `Layout::len` floats.
    pub scratch: &'a mut [f32],
}

impl Work for OnScratch<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let OnScratch { work, scratch } = self;
        let (keys, scratch) = scratch.split_at_mut(work.layout.keys);
        let (values, scores) = scratch.split_at_mut(work.layout.values);
        work.pack_keys(s, keys);
        work.pack_values::<S>(values);
        // Each query alone, so how many of them share a tile is free.
        let mut start = work.queries.start;
        let mut tiles = work.queries.len().div_ceil(S::TILE_ROWS);
        while tiles > 0 {
            let end = start + (work.queries.end - start).div_ceil(tiles);
            work.scores(s, start..end, keys, scores);
            let totals = work.softmax(s, end - start, scores);
            work.results(s, start..end, scores, values, &totals);
            start = end;
            tiles -= 1;
        }
    }
}

/// A tile's results on their way to `out`.
#[repr(align(64))]
struct Buffer([f32; MOST_TILE_ROWS * 2 * WIDEST]);

impl Head<'_> {
    /// Where the head's part of a row of queries (0), keys (1) or values (2) starts in `qkv`.
    #[inline(always)]
    fn start(&self, row: usize, which: usize) -> usize {
        (3 * row + which) * self.heads.hidden() + self.head * self.heads.dim
    }

    #[inline(always)]
    fn row(&self, row: usize, which: usize) -> &[f32] {
        let start = self.start(row, which);
        &self.qkv[start..start + self.heads.dim]
    }

    /// Panels of keys: for each of the `dim` places, that place of `PANEL` keys. Missing keys are zeros.
    #[inline(always)]
    fn pack_keys<S: Simd>(&self, s: S, to: &mut [f32]) {
        let dim = self.heads.dim;
        for (panel, keys) in to.chunks_exact_mut(S::PANEL * dim).zip(self.keys.chunks(S::PANEL)) {
            if keys.len() < S::PANEL {
                panel.fill(0.0);
            }
            for (half, keys) in keys.chunks(S::WIDTH).enumerate() {
                let panel = &mut panel[half * S::WIDTH..];
                let mut done = 0;
                let adjacent = keys[keys.len() - 1] - keys[0] + 1 == keys.len();
                if keys.len() == S::WIDTH && adjacent {
                    while done + S::WIDTH <= dim {
                        let from = self.row(keys[0], 1)[done..].as_ptr();
                        let to = panel[done * S::PANEL..].as_mut_ptr();
                        // SAFETY: WIDTH adjacent keys from `done` on, of which WIDTH places are left; as many places of
                        // `WIDTH` keys in the panel, of `dim` × PANEL floats.
                        unsafe { s.transpose(from, 3 * self.heads.hidden(), to, S::PANEL) };
                        done += S::WIDTH;
                    }
                }
                for (i, &key) in keys.iter().enumerate() {
                    for (place, x) in self.row(key, 1).iter().enumerate().skip(done) {
                        panel[place * S::PANEL + i] = *x;
                    }
                }
            }
        }
    }

    /// Panels of values: for each key, `PANEL` places of its value. Missing places are zeros.
    #[inline(always)]
    fn pack_values<S: Simd>(&self, to: &mut [f32]) {
        for (p, panel) in to.chunks_exact_mut((S::PANEL * self.keys.len()).max(1)).enumerate() {
            for (&key, to) in self.keys.iter().zip(panel.chunks_exact_mut(S::PANEL)) {
                let value = &self.row(key, 2)[p * S::PANEL..];
                if value.len() >= S::PANEL {
                    to.copy_from_slice(&value[..S::PANEL]);
                } else {
                    to[..value.len()].copy_from_slice(value);
                    to[value.len()..].fill(0.0);
                }
            }
        }
    }

    /// q·k of a tile of queries with all keys.
    #[inline(always)]
    fn scores<S: Simd>(&self, s: S, queries: Range<usize>, keys: &[f32], scores: &mut [f32]) {
        let dim = self.heads.dim;
        for (p, panel) in keys.chunks_exact(S::PANEL * dim).enumerate() {
            let tile = Tile {
                a: self.qkv[self.start(queries.start, 0)..].as_ptr(),
                a_stride: 3 * self.heads.hidden(),
                b: panel.as_ptr(),
                depth: dim,
                c: scores[p * S::PANEL..].as_mut_ptr(),
                c_stride: self.layout.stride,
                resume: false,
                ahead: Ahead::NOTHING,
            };
            // SAFETY: the queries are rows of qkv; a panel is dim × PANEL; scores has a stride for each row of a tile.
            unsafe { tile.run_rows(s, queries.len()) };
        }
    }

    /// Turns the scores of each query into weights, and says what these add up to.
    #[inline(always)]
    fn softmax<S: Simd>(&self, s: S, queries: usize, scores: &mut [f32]) -> [f32; MOST_TILE_ROWS] {
        let mut totals = [0.0; MOST_TILE_ROWS];
        let n = self.keys.len();
        for (total, row) in totals.iter_mut().zip(scores.chunks_exact_mut(self.layout.stride)).take(queries) {
            let row = &mut row[..n.next_multiple_of(S::PANEL)];
            row[n..].fill(f32::NEG_INFINITY);
            *total = softmax(s, row, self.heads.scale);
        }
        totals
    }

    /// The weighted values of a tile of queries, into `out`.
    #[inline(always)]
    fn results<S: Simd>(
        &self,
        s: S,
        queries: Range<usize>,
        weights: &[f32],
        values: &[f32],
        totals: &[f32; MOST_TILE_ROWS],
    ) {
        let (n, dim) = (self.keys.len(), self.heads.dim);
        let mut buffer = Buffer([0.0; MOST_TILE_ROWS * 2 * WIDEST]);
        for first in (0..dim).step_by(S::PANEL) {
            let tile = Tile {
                a: weights.as_ptr(),
                a_stride: self.layout.stride,
                b: values[first * n..].as_ptr(),
                depth: n,
                c: buffer.0.as_mut_ptr(),
                c_stride: S::PANEL,
                resume: false,
                ahead: Ahead::NOTHING,
            };
            // SAFETY: n ≤ stride weights in each row, n × PANEL values in the panel; the buffer holds the largest tile.
            unsafe { tile.run_rows(s, queries.len()) };
            let columns = first..dim.min(first + S::PANEL);
            for (r, row) in queries.clone().enumerate() {
                // The largest weight is 1, so only a sum of none is 0.
                let share = s.splat(if totals[r] == 0.0 { 0.0 } else { 1.0 / totals[r] });
                for v in columns.clone().step_by(S::WIDTH) {
                    let lanes = S::WIDTH.min(columns.end - v);
                    // SAFETY: inside the buffer; inside this query's part of out, which is this task's alone.
                    unsafe {
                        let sum = s.load(buffer.0.as_ptr().add(r * S::PANEL + v - first));
                        let to = self.out.at(row * self.heads.hidden() + self.head * dim + v);
                        s.store_first(to, lanes, s.mul(sum, share));
                    }
                }
            }
        }
    }
}

/// Turns scores into e^(scale·(score − largest)) and returns the sum. Dividing by it is left to the end, where there are
/// fewer numbers to divide. Scores of −∞ become 0. `row` is a whole number of panels.
#[inline(always)]
fn softmax<S: Simd>(s: S, row: &mut [f32], scale: f32) -> f32 {
    let start = row.as_mut_ptr();
    let mut largest = [s.splat(f32::MIN); 2];
    let mut total = [s.splat(0.0); 2];
    let scale = s.splat(scale);
    // SAFETY: a row is a whole number of panels, each of two vectors.
    unsafe {
        for i in (0..row.len()).step_by(S::PANEL) {
            largest[0] = s.max(largest[0], s.load(start.add(i)));
            largest[1] = s.max(largest[1], s.load(start.add(i + S::WIDTH)));
        }
        let largest = s.splat(s.largest(s.max(largest[0], largest[1])));
        for i in (0..row.len()).step_by(S::PANEL) {
            for (half, total) in total.iter_mut().enumerate() {
                let at = start.add(i + half * S::WIDTH);
                let weight = exp(s, s.mul(s.sub(s.load(at), largest), scale));
                s.store(at, weight);
                *total = s.add(*total, weight);
            }
        }
    }
    s.sum(s.add(total[0], total[1]))
}
