//! Disentangled attention (DeBERTa, He et al. 2021): queries and keys are also multiplied with vectors of their distance.
//!
//! `score(i, j) = qᵢ·kⱼ + qᵢ·K(i−j) + kⱼ·Q(i−j)` for the query at position i and the key at position j of a text.
//!
//! Which vector a pair takes depends on its distance alone. So the vectors of all distances that occur are packed into panels, and
//! products with them are tiles like any other. Row r of such a tile holds the distances in one order, which for the next
//! query, or key, means positions that are one further on. So the tile is stored with rows one float further apart than those of
//! the scores: **skewed**, each product lies where its pair's score belongs, and nothing has to be gathered. What a tile computes
//! beyond a text's ends falls into the room between two rows.
//!
//! Before a tile of queries is multiplied with its keys, these sums are in place; q·k goes on from there, in the same chain.

use std::ops::Range;

use super::head::Head;
use super::number::Number;
use crate::gemm::{Ahead, Product, Start, Tile, interleave};
use crate::memory::LINE;
use crate::output::Element;
use crate::simd::{MOST_TILE_ROWS, Simd, WIDEST};

/// The vectors of distances, one for each row of a table. Which ones lie far apart share a row is up to the model.
#[derive(Clone, Copy, Debug)]
pub struct Disentangled<'a> {
    /// What queries are multiplied with ("content to position"): rows of as many floats as a row of queries.
    pub keys: Option<&'a [f32]>,
    /// What keys are multiplied with ("position to content"), likewise.
    pub queries: Option<&'a [f32]>,
    /// The row of both tables for each distance of a query from a key, from −`reach` to `reach`: 2 · `reach` + 1 of them, so that
    /// texts may have `reach` + 1 tokens.
    pub rows: &'a [u32],
}

impl Disentangled<'_> {
    /// The same; none where there are no vectors, so that nothing is added.
    ///
    /// # Panics
    /// If a table lacks a row, or a text is too long.
    pub(super) fn checked(self, hidden: usize, texts: &[Range<usize>]) -> Option<Self> {
        if self.keys.is_none() && self.queries.is_none() {
            return None;
        }
        let last = self.rows.iter().max().map_or(0, |&row| row as usize + 1);
        for table in [self.keys, self.queries].into_iter().flatten() {
            assert!(last * hidden <= table.len(), "attention: {last} rows of distances");
        }
        let longest = texts.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        assert!(longest <= self.rows.len().div_ceil(2), "attention: distances for a text of {longest}");
        Some(self)
    }

    /// That row of a table.
    pub(super) fn row(&self, distance: isize) -> usize {
        self.rows[(self.rows.len() as isize / 2 + distance) as usize] as usize
    }
}

/// As far as a skewed tile may reach beyond either end of a row: a panel that begins before it, on top of the tile's own skew.
const BEYOND: usize = (2 * WIDEST + MOST_TILE_ROWS).next_multiple_of(LINE);

/// The most queries of a task, whose scores all exist at a time: as many as a text of the usual models has, so that those are not
/// cut, and memory grows with a text's length and not with its square.
pub(super) const MOST_QUERIES: usize = 512;

/// Some queries of one text.
#[derive(Clone)]
pub(super) struct Distances<'a> {
    pub tables: Disentangled<'a>,
    /// The rows of the text, masked ones too.
    pub text: Range<usize>,
    /// The rows of the queries.
    pub queries: Range<usize>,
}

/// How the memory for it is divided, in words.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Packed vectors of distances.
    panels: usize,
    /// A vector register's worth of rows on their way into a panel.
    rows: usize,
    /// A tile's products of keys, before they are transposed.
    products: usize,
    /// From one key's products to the next one's.
    stride: usize,
    /// From one query's scores to the next one's.
    pub scores_stride: usize,
    /// Scores before the first row, and of all rows.
    pub scores: usize,
}

impl Room {
    pub(super) fn len(self) -> usize {
        self.panels + self.rows + self.products
    }
}

/// A row that `BEYOND` words lie between, and whose length is no multiple of a high power of two: such rows would all want the same
/// places in the cache.
fn stride(len: usize) -> usize {
    (len + BEYOND).next_multiple_of(2 * LINE) + LINE
}

impl Distances<'_> {
    /// How many distances occur.
    fn count(&self) -> usize {
        self.text.len() + self.queries.len() - 1
    }

    /// The text's position that the first query has.
    fn first(&self) -> usize {
        self.queries.start - self.text.start
    }

    pub(super) fn room(&self, depth: usize, panel: usize) -> Room {
        let (products, scores) = (stride(self.queries.len()), stride(self.text.len()));
        Room {
            panels: self.count().next_multiple_of(panel) * depth,
            rows: WIDEST * depth,
            products: BEYOND + MOST_TILE_ROWS.next_multiple_of(WIDEST) * products + BEYOND,
            stride: products,
            scores_stride: scores,
            scores: BEYOND + self.queries.len().next_multiple_of(WIDEST) * scores + BEYOND,
        }
    }

    /// Readies the scores of all queries: k·Q is in them, and the vectors that queries are multiplied with are packed.
    #[inline(always)]
    pub(super) fn prepare<N: Number, Y: Element, S: Simd>(
        &self,
        s: S,
        work: &Head<'_, N, Y>,
        room: Room,
        scratch: &mut [u32],
        operands: &mut [u32],
        scores: &mut [f32],
    ) {
        let (panels, scratch) = scratch.split_at_mut(room.panels);
        let (rows, products) = scratch.split_at_mut(room.rows);
        let (n, depth) = (self.text.len(), work.layout.depth);
        if let Some(table) = self.tables.queries {
            // Query i of the text, so column i − first, is at distance i − j from key j.
            let least = self.first() as isize - (n as isize - 1);
            self.pack(s, work, table, |column| least + column as isize, panels, rows);
            let mut start = 0;
            while start < n {
                let end = n.min(start + N::Product::most_rows::<S>());
                let (keys, keys_stride) = work.operand(s, self.text.start + start..self.text.start + end, 1, operands);
                // The distances of the first query from the last of these keys, to those of the last query from the first.
                let columns = n - end..n - 1 - start + self.queries.len();
                for panel in columns.start / S::PANEL..columns.end.div_ceil(S::PANEL) {
                    // Key j has the query at column − (n − 1) + j.
                    let at = BEYOND + panel * S::PANEL + start - (n - 1);
                    let tile = Tile {
                        product: N::product(Start::zero()),
                        a: keys.cast(),
                        a_stride: keys_stride,
                        b: panels[panel * S::PANEL * depth..].as_ptr().cast(),
                        halves_apart: false,
                        depth,
                        c: products[at..].as_mut_ptr().cast(),
                        c_stride: room.stride + 1,
                        ahead: Ahead::NOTHING,
                    };
                    // SAFETY: as many keys of `depth` words; a panel; of each row less than `BEYOND` floats lie before and
                    // behind its `stride` − `BEYOND` ones, whose bits are a float's whatever they are.
                    unsafe { tile.run_rows(s, end - start) };
                }
                for key in (0..end - start).step_by(S::WIDTH) {
                    for query in (0..self.queries.len()).step_by(S::WIDTH) {
                        let from = &products[BEYOND + key * room.stride + query..];
                        let to = &mut scores[BEYOND + query * room.scores_stride + start + key..];
                        // SAFETY: WIDTH rows of products, which has room for whole vectors of the largest tile's; likewise WIDTH rows of
                        // scores. What is too much of each row lies between two rows, or is overwritten by the next keys.
                        unsafe {
                            s.transpose(from.as_ptr().cast(), room.stride, to.as_mut_ptr(), room.scores_stride);
                        }
                    }
                }
                start = end;
            }
        }
        if let Some(table) = self.tables.keys {
            let most = self.first() as isize + self.queries.len() as isize - 1;
            self.pack(s, work, table, |column| most - column as isize, panels, rows);
        }
    }

    /// Panels of one head's part of the rows for these distances; more columns than there are distances hold anything.
    #[inline(always)]
    fn pack<N: Number, Y: Element, S: Simd>(
        &self,
        s: S,
        work: &Head<'_, N, Y>,
        table: &[f32],
        distance: impl Fn(usize) -> isize,
        panels: &mut [u32],
        rows: &mut [u32],
    ) {
        let (depth, dim) = (work.layout.depth, work.heads.dim);
        for (first, part) in (0..self.count()).step_by(S::WIDTH).enumerate() {
            for (column, to) in (part..self.count()).zip(rows[..S::WIDTH * depth].chunks_exact_mut(depth)) {
                let at = self.tables.row(distance(column)) * work.heads.hidden() + work.head * dim;
                N::words(s, &table[at..at + dim], to);
            }
            let panel = &mut panels[first / 2 * S::PANEL * depth..];
            interleave(s, &rows[..S::WIDTH * depth], depth, &mut panel[first % 2 * S::WIDTH..]);
        }
    }

    /// Where in the scores those of a query begin.
    pub(super) fn start(&self, room: Room, query: usize) -> usize {
        BEYOND + (query - self.queries.start) * room.scores_stride
    }

    /// Adds q·K to a tile of queries, and leaves masked keys' sums out.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // parts of one scratch memory
    pub(super) fn add<N: Number, Y: Element, S: Simd>(
        &self,
        s: S,
        work: &Head<'_, N, Y>,
        room: Room,
        tile: Range<usize>,
        panels: &[u32],
        operands: &mut [u32],
        scores: &mut [f32],
    ) {
        let (n, depth) = (self.text.len(), work.layout.depth);
        if self.tables.keys.is_some() {
            // Columns of the last query's distance from the first key, to the first query's from the last key.
            let (from_end, count) = (self.queries.end - tile.end, tile.len());
            let columns = from_end..from_end + count - 1 + n;
            let (queries, queries_stride) = work.operand(s, tile.clone(), 0, operands);
            for panel in columns.start / S::PANEL..columns.end.div_ceil(S::PANEL) {
                // The first of these queries has the key at column − (queries behind it).
                let at = self.start(room, tile.start) + panel * S::PANEL - (self.queries.end - 1 - tile.start);
                let c = scores[at..].as_mut_ptr();
                let so_far = Start { at: c, stride: room.scores_stride + 1 };
                let tile = Tile {
                    product: N::product(if self.tables.queries.is_some() { so_far } else { Start::zero() }),
                    a: queries.cast(),
                    a_stride: queries_stride,
                    b: panels[panel * S::PANEL * depth..].as_ptr().cast(),
                    halves_apart: false,
                    depth,
                    c,
                    c_stride: room.scores_stride + 1,
                    ahead: Ahead::NOTHING,
                };
                // SAFETY: as many queries of `depth` words; a panel; of each row less than `BEYOND` floats lie before and
                // behind the text's; what a sum starts with is read before it is overwritten.
                unsafe { tile.run_rows(s, count) };
            }
        }
        if work.keys.len() < n {
            for query in tile {
                let row = &mut scores[self.start(room, query)..];
                for (to, key) in work.keys.iter().enumerate() {
                    row[to] = row[key - self.text.start];
                }
            }
        }
    }
}
