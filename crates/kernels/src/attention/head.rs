//! One head of one text: the task that attention is made of.

use std::ops::Range;

use super::bias::TextBias;
use super::disentangled::{Distances, Room};
use super::number::Number;
use super::window::{most_scores, near, near_from_panel};
use super::{Heads, Rotary, Scoring};
use crate::gemm::{Ahead, Product, Start, Tile};
use crate::memory::{LINE, words_mut};
use crate::output::Element;
use crate::simd::{MOST_TILE_ROWS, Simd, WIDEST, Work};
use crate::team::Shared;

/// Some queries of one head of one text.
pub(super) struct Head<'a, N, Y> {
    pub qkv: &'a [N],
    pub heads: Heads,
    pub head: usize,
    pub rotary: Option<Rotary<'a>>,
    pub window: Option<usize>,
    /// The text's first row.
    pub text: usize,
    /// The rows that may be attended to.
    pub keys: &'a [usize],
    /// The rows to compute.
    pub queries: Range<usize>,
    /// What the distances of queries and keys add.
    pub distances: Option<Distances<'a>>,
    /// What distances add to scores.
    pub bias: Option<TextBias>,
    pub out: Shared<'a, Y>,
    pub layout: Layout,
}

/// How a task's scratch memory is divided, in words: keys, values, a tile's queries, keys that are being turned, what distances need,
/// then the scores of a tile, or of all queries where distances make them.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    keys: usize,
    values: usize,
    queries: usize,
    turned: usize,
    distances: Option<Room>,
    /// Words of a row of queries or keys.
    pub depth: usize,
    /// From one query's scores to the next one's.
    stride: usize,
    scores: usize,
}

impl Layout {
    pub(super) fn new<P: Product>(
        keys: usize,
        scoring: &Scoring<'_>,
        panel: usize,
        distances: Option<&Distances<'_>>,
    ) -> Self {
        let dim = scoring.heads.dim;
        let padded = keys.next_multiple_of(panel);
        let depth = dim.div_ceil(P::NUMBERS);
        let distances = distances.map(|distances| distances.room(depth, panel));
        // One cache line more than needed: rows a power of two apart would all want the same places in the cache.
        let whole = most_scores(scoring.window, keys, MOST_TILE_ROWS, panel) + LINE;
        let stride = distances.map_or(whole, |room| room.scores_stride);
        Layout {
            keys: padded * depth,
            values: dim.next_multiple_of(panel) * padded.div_ceil(P::NUMBERS),
            queries: (MOST_TILE_ROWS * depth).next_multiple_of(LINE),
            turned: if scoring.rotary.is_some() { WIDEST * depth } else { 0 },
            distances,
            depth,
            stride,
            scores: distances.map_or(MOST_TILE_ROWS * stride, |room| room.scores),
        }
    }

    pub(super) fn len(self) -> usize {
        let distances = self.distances.map_or(0, Room::len);
        self.keys + self.values + self.queries + self.turned + distances + self.scores
    }
}

pub(super) struct OnScratch<'a, N, Y> {
    pub work: Head<'a, N, Y>,
    /// `Layout::len` floats.
    pub scratch: &'a mut [f32],
}

impl<N: Number, Y: Element> Work for OnScratch<'_, N, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let OnScratch { work, scratch } = self;
        let (packed, all_scores) = scratch.split_at_mut(work.layout.len() - work.layout.scores);
        let (keys, packed) = words_mut(packed).split_at_mut(work.layout.keys);
        let (values, packed) = packed.split_at_mut(work.layout.values);
        let (queries, packed) = packed.split_at_mut(work.layout.queries);
        let (turned, of_distances) = packed.split_at_mut(work.layout.turned);
        work.pack_keys(s, turned, keys);
        work.pack_values::<S>(values);
        let distances = work.distances.as_ref().zip(work.layout.distances);
        if let Some((distances, room)) = distances {
            distances.prepare(s, &work, room, of_distances, queries, all_scores);
        }
        let mut buffer = Buffer([0.0; MOST_TILE_ROWS * 2 * WIDEST]);
        // Each query alone, so how many of them share a tile is free.
        let mut start = work.queries.start;
        let mut tiles = work.queries.len().div_ceil(N::Product::most_rows::<S>());
        while tiles > 0 {
            let end = start + (work.queries.end - start).div_ceil(tiles);
            let scores = match distances {
                None => &mut *all_scores,
                Some((distances, room)) => {
                    distances.add(s, &work, room, start..end, of_distances, queries, all_scores);
                    &mut all_scores[distances.start(room, start)..]
                }
            };
            let near = near_from_panel(work.keys, &(start..end), work.window, S::PANEL);
            work.scores(s, start..end, &near, queries, keys, scores);
            if let Some(bias) = &work.bias {
                for (query, scores) in (start..end).zip(scores.chunks_exact_mut(work.layout.stride)) {
                    bias.add(query, &work.keys[near.clone()], scores);
                }
            }
            let totals = work.softmax(s, start..end, &near, scores);
            work.results(s, start..end, &near, scores, values, &totals, &mut buffer);
            start = end;
            tiles -= 1;
        }
    }
}

/// A tile's results on their way to `out`.
#[repr(align(64))]
struct Buffer([f32; MOST_TILE_ROWS * 2 * WIDEST]);

impl<N: Number, Y: Element> Head<'_, N, Y> {
    /// Where the head's part of a row of queries (0), keys (1) or values (2) starts in `qkv`.
    #[inline(always)]
    fn start(&self, row: usize, which: usize) -> usize {
        (3 * row + which) * self.heads.hidden() + self.head * self.heads.dim
    }

    /// The same with all that follows: for pointers that go on to the next rows.
    #[inline(always)]
    fn from(&self, row: usize, which: usize) -> &[N] {
        &self.qkv[self.start(row, which)..]
    }

    #[inline(always)]
    fn row(&self, row: usize, which: usize) -> &[N] {
        &self.from(row, which)[..self.heads.dim]
    }

    /// Panels of keys: for each word of a key, that of `PANEL` keys. Where keys are missing, anything: those scores are dropped.
    #[inline(always)]
    fn pack_keys<S: Simd>(&self, s: S, turned: &mut [u32], to: &mut [u32]) {
        let (depth, numbers) = (self.layout.depth, N::Product::NUMBERS);
        let stride = 3 * self.heads.hidden();
        for (panel, keys) in to.chunks_exact_mut(S::PANEL * depth).zip(self.keys.chunks(S::PANEL)) {
            for (half, keys) in keys.chunks(S::WIDTH).enumerate() {
                let panel = &mut panel[half * S::WIDTH..];
                if let Some(rotary) = self.rotary {
                    self.pack_turned(s, rotary, keys, turned, panel);
                    continue;
                }
                let mut done = 0;
                let adjacent = keys[keys.len() - 1] - keys[0] + 1 == keys.len();
                // A whole vector of rows, even if the last ones are another text's: their scores are dropped.
                let present = (keys[0] + S::WIDTH) * stride <= self.qkv.len();
                if adjacent && present && stride.is_multiple_of(numbers) {
                    while (done + S::WIDTH) * numbers <= self.heads.dim {
                        let from = self.from(keys[0], 1)[done * numbers..].as_ptr().cast();
                        let to = panel[done * S::PANEL..].as_mut_ptr().cast();
                        // SAFETY: WIDTH rows that exist, of whose keys WIDTH words are left from `done` on; as many words of
                        // `WIDTH` keys in the panel, of `depth` × PANEL words. They may pass for floats while they are
                        // only moved.
                        unsafe { s.transpose(from, stride / numbers, to, S::PANEL) };
                        done += S::WIDTH;
                    }
                }
                for (i, &key) in keys.iter().enumerate() {
                    let key = self.row(key, 1);
                    for w in done..depth {
                        panel[w * S::PANEL + i] = N::word(key, w);
                    }
                }
            }
        }
    }

    /// A vector of turned keys, into a half of a panel.
    #[inline(always)]
    fn pack_turned<S: Simd>(&self, s: S, rotary: Rotary<'_>, keys: &[usize], turned: &mut [u32], panel: &mut [u32]) {
        let depth = self.layout.depth;
        for (&key, to) in keys.iter().zip(turned.chunks_exact_mut(depth)) {
            self.turn(s, rotary, key, 1, to);
        }
        let mut done = 0;
        while done + S::WIDTH <= depth {
            let (from, to) = (turned[done..].as_ptr().cast(), panel[done * S::PANEL..].as_mut_ptr().cast());
            // SAFETY: there is room for WIDTH rows of `depth` words, turned or not, of each of which WIDTH words are left from
            // `done` on; as many words of `WIDTH` keys in the panel, of `depth` × PANEL words. They may pass for floats while
            // they are only moved.
            unsafe { s.transpose(from, depth, to, S::PANEL) };
            done += S::WIDTH;
        }
        for (i, key) in turned.chunks_exact(depth).take(keys.len()).enumerate() {
            for w in done..depth {
                panel[w * S::PANEL + i] = key[w];
            }
        }
    }

    /// A row's turned query (0) or key (1), word by word.
    #[inline(always)]
    fn turn<S: Simd>(&self, s: S, rotary: Rotary<'_>, row: usize, which: usize, to: &mut [u32]) {
        assert!(to.len() == self.layout.depth);
        // What lacks in the last word is 0.
        to[self.layout.depth - 1] = 0;
        let from = self.row(row, which).as_ptr();
        // SAFETY: a row of `dim` numbers; `depth` words hold as many, and any bits are a number. `attention` has checked the rest.
        unsafe { rotary.turn(s, row - self.text, self.heads.dim, from, to.as_mut_ptr().cast::<N>()) };
    }

    /// Words of weights or values for so many keys. Where registers hold whole tiles, they are filled up with zeros to what these take:
    /// a weight is then multiplied in the same way whichever keys are near.
    #[inline(always)]
    fn words<S: Simd>(keys: usize) -> usize {
        let whole = N::Product::most_rows::<S>() > S::TILE_ROWS;
        if whole { keys.next_multiple_of(S::PANEL) } else { keys }.div_ceil(N::Product::NUMBERS)
    }

    /// Panels of values: for each word of keys, `PANEL` places of their values. Missing places are zeros.
    #[inline(always)]
    fn pack_values<S: Simd>(&self, to: &mut [u32]) {
        let words = self.keys.chunks(N::Product::NUMBERS);
        let all = Self::words::<S>(self.keys.len());
        let panels = self.heads.dim.div_ceil(S::PANEL);
        for (p, panel) in to.chunks_exact_mut((S::PANEL * all).max(1)).take(panels).enumerate() {
            panel[S::PANEL * words.len()..].fill(0);
            for (keys, to) in words.clone().zip(panel.chunks_exact_mut(S::PANEL)) {
                let places = p * S::PANEL..self.heads.dim.min((p + 1) * S::PANEL);
                let value = |&key: &usize| &self.row(key, 2)[places.clone()];
                if places.len() < S::PANEL {
                    to.fill(0);
                }
                N::beside(value(&keys[0]), keys.get(1).map(value), &mut to[..places.len()]);
            }
        }
    }

    /// A tile of queries or keys, word by word.
    #[inline(always)]
    fn copy<S: Simd>(&self, s: S, rows: Range<usize>, which: usize, to: &mut [u32]) {
        for (row, to) in rows.zip(to.chunks_exact_mut(self.layout.depth)) {
            if let Some(rotary) = self.rotary {
                self.turn(s, rotary, row, which, to);
                continue;
            }
            let row = self.row(row, which);
            for (w, word) in to.iter_mut().enumerate() {
                *word = N::word(row, w);
            }
        }
    }

    /// A tile of queries (0) or keys (1), and how many words one row is from the next: where they are, if they are whole words
    /// and not turned, or a copy.
    #[inline(always)]
    pub(super) fn operand<S: Simd>(
        &self,
        s: S,
        rows: Range<usize>,
        which: usize,
        scratch: &mut [u32],
    ) -> (*const u32, usize) {
        let (numbers, stride) = (N::Product::NUMBERS, 3 * self.heads.hidden());
        let whole = self.heads.dim.is_multiple_of(numbers) && stride.is_multiple_of(numbers);
        if whole && self.rotary.is_none() {
            return (self.from(rows.start, which).as_ptr().cast(), stride / numbers);
        }
        self.copy(s, rows, which, scratch);
        (scratch.as_ptr(), self.layout.depth)
    }

    /// q·k of a tile of queries with the keys that are `near`, added to what distances made of the scores.
    #[inline(always)]
    fn scores<S: Simd>(
        &self,
        s: S,
        rows: Range<usize>,
        near: &Range<usize>,
        scratch: &mut [u32],
        keys: &[u32],
        scores: &mut [f32],
    ) {
        let (depth, count) = (self.layout.depth, rows.len());
        let (queries, stride) = self.operand(s, rows, 0, scratch);
        let panels = near.len().div_ceil(S::PANEL);
        for (p, panel) in keys[near.start * depth..].chunks_exact(S::PANEL * depth).take(panels).enumerate() {
            let c = scores[p * S::PANEL..].as_mut_ptr();
            let so_far = Start { at: c, stride: self.layout.stride };
            let tile = Tile {
                product: N::product(if self.distances.is_some() { so_far } else { Start::zero() }),
                a: queries.cast(),
                a_stride: stride,
                b: panel.as_ptr().cast(),
                halves_apart: false,
                depth,
                c,
                c_stride: self.layout.stride,
                ahead: Ahead::NOTHING,
            };
            // SAFETY: there are as many queries of `depth` words, which need not be aligned; a panel is depth × PANEL; scores has a stride for each
            // row of a tile.
            unsafe { tile.run_rows(s, count) };
        }
    }

    /// Turns the scores of each query into weights, and says what these add up to.
    #[inline(always)]
    fn softmax<S: Simd>(
        &self,
        s: S,
        queries: Range<usize>,
        tile: &Range<usize>,
        scores: &mut [f32],
    ) -> [f32; MOST_TILE_ROWS] {
        let mut totals = [0.0; MOST_TILE_ROWS];
        let rows = scores.chunks_exact_mut(self.layout.stride).zip(queries);
        for (total, (row, query)) in totals.iter_mut().zip(rows) {
            let row = &mut row[..tile.len().next_multiple_of(S::PANEL)];
            // A tile's keys are those of all its queries.
            let near = near(self.keys, &(query..query + 1), self.window);
            row[near.end - tile.start..].fill(f32::NEG_INFINITY);
            row[..near.start - tile.start].fill(f32::NEG_INFINITY);
            *total = softmax::<N, S>(s, row, self.heads.scale);
        }
        totals
    }

    /// The weighted values of a tile of queries, into `out`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // what the steps before it made
    fn results<S: Simd>(
        &self,
        s: S,
        queries: Range<usize>,
        near: &Range<usize>,
        weights: &[f32],
        values: &[u32],
        totals: &[f32; MOST_TILE_ROWS],
        buffer: &mut Buffer,
    ) {
        // Words of values in a panel, those before the near ones, and the near ones.
        let numbers = N::Product::NUMBERS;
        let (all, before, depth) =
            (Self::words::<S>(self.keys.len()), near.start / numbers, Self::words::<S>(near.len()));
        let dim = self.heads.dim;
        for first in (0..dim).step_by(S::PANEL) {
            let tile = Tile {
                product: N::product(Start::zero()),
                a: weights.as_ptr().cast(),
                a_stride: self.layout.stride,
                b: values[first * all + before * S::PANEL..].as_ptr().cast(),
                halves_apart: false,
                depth,
                c: buffer.0.as_mut_ptr(),
                c_stride: S::PANEL,
                ahead: Ahead::NOTHING,
            };
            // SAFETY: a row has as many words of weights, filled up with the zero that a missing key gets;
            // depth × PANEL words of values in the panel; the buffer holds the largest tile.
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
                        Y::store_first(s, to, lanes, s.mul(sum, share));
                    }
                }
            }
        }
    }
}

/// Turns scores into e^(scale·(score − largest)) and returns the sum. Dividing by it is left to the end, where there are
/// fewer numbers to divide. Scores of −∞ become 0. `row` is a whole number of panels.
#[inline(always)]
fn softmax<N: Number, S: Simd>(s: S, row: &mut [f32], scale: f32) -> f32 {
    let start = row.as_mut_ptr();
    let mut largest = [s.splat(f32::MIN); 2];
    let mut total = [s.splat(0.0); 2];
    let scale = s.splat(scale * N::EXPONENT);
    // SAFETY: a row is a whole number of panels, each of two vectors.
    unsafe {
        for i in (0..row.len()).step_by(S::PANEL) {
            largest[0] = s.max(largest[0], s.load(start.add(i)));
            largest[1] = s.max(largest[1], s.load(start.add(i + S::WIDTH)));
        }
        let largest = s.splat(s.largest(s.max(largest[0], largest[1])));
        for i in (0..row.len()).step_by(S::PANEL) {
            for (half, total) in total.iter_mut().enumerate() {
                let at = i + half * S::WIDTH;
                let weight = N::power(s, s.mul(s.sub(s.load(start.add(at)), largest), scale));
                N::store_weights(s, start, at, weight);
                *total = s.add(*total, weight);
            }
        }
    }
    s.sum(s.add(total[0], total[1]))
}
