//! The way through the matrix: blocks of vectors, and in each of them tiles.

use std::ops::Range;

use super::best::Best;
use crate::simd::{Simd, Work};

/// Vectors of a block: with 384 floats each, 96 KB.
pub(super) const BLOCK: usize = 64;

/// The most queries of a tile.
pub(super) const QUERIES: usize = 4;

/// How sums become scores: `sum · scale of the query · factor of the vector + bias of the vector`.
#[derive(Clone, Copy, Debug)]
pub struct Ranking<'a> {
    /// One for each query.
    pub scales: &'a [f32],
    /// One for each vector of the matrix; none: 1.
    pub factors: Option<&'a [f32]>,
    /// One for each vector of the matrix; none: 0.
    pub biases: Option<&'a [f32]>,
}

/// What a precision computes of a block and a tile of queries.
pub(super) trait Sums: Copy {
    /// `sums[query · BLOCK + vector]`, both counted within their ranges: at most [`QUERIES`] and [`BLOCK`].
    fn block<S: Simd>(self, s: S, vectors: Range<usize>, queries: Range<usize>, sums: &mut [f32; QUERIES * BLOCK]);
}

/// Offers a range of vectors to the best of each query.
pub(super) struct Walk<'a, T> {
    pub sums: T,
    pub range: Range<usize>,
    pub ranking: Ranking<'a>,
    pub best: &'a mut [Best],
}

impl<T: Sums> Work for Walk<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Walk { sums: of, range, ranking, best } = self;
        let mut sums = [0.0; QUERIES * BLOCK];
        for start in range.clone().step_by(BLOCK) {
            let block = start..range.end.min(start + BLOCK);
            for (tile, best) in best.chunks_mut(QUERIES).enumerate() {
                let first = tile * QUERIES;
                of.block(s, block.clone(), first..first + best.len(), &mut sums);
                for ((q, best), sums) in best.iter_mut().enumerate().zip(sums.chunks_exact_mut(BLOCK)) {
                    let sums = &mut sums[..block.len()];
                    ranking.score(first + q, block.clone(), sums);
                    offer(s, start, sums, best);
                }
            }
        }
    }
}

impl Ranking<'_> {
    #[inline(always)]
    fn score(&self, query: usize, vectors: Range<usize>, sums: &mut [f32]) {
        let scale = self.scales[query];
        match self.factors {
            Some(factors) => sums.iter_mut().zip(&factors[vectors.clone()]).for_each(|(sum, f)| *sum *= scale * f),
            None => sums.iter_mut().for_each(|sum| *sum *= scale),
        }
        if let Some(biases) = self.biases {
            sums.iter_mut().zip(&biases[vectors]).for_each(|(sum, bias)| *sum += bias);
        }
    }
}

/// Most blocks have nothing for the best: a look at the block's largest score tells.
#[inline(always)]
fn offer<S: Simd>(s: S, first: usize, scores: &[f32], best: &mut Best) {
    let floor = best.floor();
    let mut largest = s.splat(f32::NEG_INFINITY);
    for at in (0..scores.len()).step_by(S::WIDTH) {
        let lanes = S::WIDTH.min(scores.len() - at);
        // SAFETY: as many scores follow.
        largest = s.max(largest, unsafe { s.load_first(scores.as_ptr().add(at), lanes, f32::NEG_INFINITY) });
    }
    if s.largest(largest) > floor {
        for (i, &score) in scores.iter().enumerate() {
            best.offer(score, (first + i) as u32);
        }
    }
}
