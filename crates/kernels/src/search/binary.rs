//! A bit for each place.

use std::ops::Range;

use super::walk::{BLOCK, QUERIES, Sums};
use crate::simd::Simd;

/// Vectors whose words lie side by side: the first word of each, then the second. So the compiler makes vectors of them.
pub(super) const GROUP: usize = 8;

/// The cosine of the signs: 1 − 2 · (places that differ) / places.
#[derive(Clone, Copy)]
pub(super) struct Binary<'a> {
    /// Groups of vectors.
    pub vectors: &'a [u64],
    /// One query after the other.
    pub queries: &'a [u64],
    pub dim: usize,
}

/// Words of a vector.
pub(super) fn words(dim: usize) -> usize {
    dim.div_ceil(64)
}

/// Word `w` of a vector: bit i says whether place 64 · w + i is above 0.
pub(super) fn word(x: &[f32], w: usize) -> u64 {
    let places = &x[64 * w..x.len().min(64 * (w + 1))];
    places.iter().enumerate().fold(0, |word, (i, &x)| word | u64::from(x > 0.0) << i)
}

/// Σ |x| / √dim: with it, a vector's signs are nearest to its numbers (XNOR-Net, Rastegari et al. 2016), and the cosine of two
/// vectors' signs becomes an estimate of their product.
pub(super) fn scale(x: &[f32]) -> f32 {
    let sum: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
    (sum / (x.len() as f64).sqrt()) as f32
}

/// Stores vectors in groups, and their scales.
pub(super) fn store(x: &[f32], dim: usize, to: &mut [u64], scales: &mut [f32]) {
    let words = words(dim);
    for (i, (x, to_scale)) in x.chunks_exact(dim).zip(scales).enumerate() {
        let group = i / GROUP * GROUP * words;
        for w in 0..words {
            to[group + w * GROUP + i % GROUP] = word(x, w);
        }
        *to_scale = scale(x);
    }
}

impl Sums for Binary<'_> {
    #[inline(always)]
    fn block<S: Simd>(self, _: S, vectors: Range<usize>, queries: Range<usize>, sums: &mut [f32; QUERIES * BLOCK]) {
        let words = words(self.dim);
        let groups = &self.vectors[vectors.start * words..vectors.end.next_multiple_of(GROUP) * words];
        let queries = &self.queries[queries.start * words..queries.end * words];
        for (query, sums) in queries.chunks_exact(words).zip(sums.chunks_exact_mut(BLOCK)) {
            for (group, sums) in groups.chunks_exact(GROUP * words).zip(sums.chunks_exact_mut(GROUP)) {
                let mut differ = [0u64; GROUP];
                for (eight, &query) in group.as_chunks::<GROUP>().0.iter().zip(query) {
                    for i in 0..GROUP {
                        differ[i] += u64::from((eight[i] ^ query).count_ones());
                    }
                }
                for (sum, differ) in sums.iter_mut().zip(differ) {
                    *sum = (self.dim as f32 - 2.0 * differ as f32) / self.dim as f32;
                }
            }
        }
    }
}
