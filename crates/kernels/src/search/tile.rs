//! A block in tiles: a few vectors with a few queries, whose sums stay in registers.

use std::ops::Range;

use super::walk::{BLOCK, QUERIES};
use crate::simd::Simd;

/// Vectors of a tile.
const VECTORS: usize = 4;

/// A precision that sums in registers.
pub(super) trait Tiles: Copy {
    /// The sums of `V` vectors from `vector` on with each of `Q` queries from `query` on.
    fn tile<S: Simd, const V: usize, const Q: usize>(self, s: S, vector: usize, query: usize) -> [[f32; Q]; V];
}

/// What [`Sums::block`](super::walk::Sums::block) asks for.
#[inline(always)]
pub(super) fn block<S: Simd, T: Tiles>(
    s: S,
    of: T,
    vectors: Range<usize>,
    queries: Range<usize>,
    sums: &mut [f32; QUERIES * BLOCK],
) {
    // Sixteen sums fit 32 registers, eight fit 16.
    let several = if S::TILE_ROWS >= 12 { 4 } else { 2 };
    let mut query = queries.start;
    let mut sums = &mut sums[..];
    while query < queries.end {
        let count = if queries.end - query >= several { several } else { 1 };
        match count {
            4 => strip::<S, T, 4>(s, of, vectors.clone(), query, sums),
            2 => strip::<S, T, 2>(s, of, vectors.clone(), query, sums),
            _ => strip::<S, T, 1>(s, of, vectors.clone(), query, sums),
        }
        query += count;
        sums = &mut sums[count * BLOCK..];
    }
}

/// All vectors of a block with `Q` queries.
#[inline(always)]
fn strip<S: Simd, T: Tiles, const Q: usize>(s: S, of: T, vectors: Range<usize>, query: usize, sums: &mut [f32]) {
    let whole = vectors.len() / VECTORS * VECTORS;
    for v in (0..whole).step_by(VECTORS) {
        let tile = of.tile::<S, VECTORS, Q>(s, vectors.start + v, query);
        for (v, tile) in (v..).zip(tile) {
            tile.iter().enumerate().for_each(|(q, &sum)| sums[q * BLOCK + v] = sum);
        }
    }
    for v in whole..vectors.len() {
        let tile = of.tile::<S, 1, Q>(s, vectors.start + v, query);
        tile[0].iter().enumerate().for_each(|(q, &sum)| sums[q * BLOCK + v] = sum);
    }
}
