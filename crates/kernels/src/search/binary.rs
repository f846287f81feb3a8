//! A bit for each place.

use std::ops::Range;

use super::exact::exact_dot;
use super::walk::{BLOCK, QUERIES, Sums};
use crate::simd::Simd;

/// Vectors whose words lie side by side: the first word of each, then the second. So the compiler makes vectors of them.
pub(super) const GROUP: usize = 8;

/// The cosine that signs tell of: those of two vectors with the angle θ between them differ in θ/π of the places, if their
/// directions have nothing to do with the places (Charikar 2002). With the lengths, that makes products and distances too.
#[derive(Clone, Copy)]
pub(super) struct Binary<'a> {
    /// Groups of vectors.
    pub vectors: &'a [u64],
    /// One query after the other.
    pub queries: &'a [u64],
    /// See [`cosines`].
    pub cosines: &'a [f32],
}

/// For each number of places that may differ, the cosine it tells of.
pub(super) fn cosines(dim: usize) -> Vec<f32> {
    (0..=dim).map(|differ| (std::f64::consts::PI * differ as f64 / dim as f64).cos() as f32).collect()
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

/// A vector's length.
pub(super) fn scale(x: &[f32]) -> f32 {
    exact_dot(x, x).sqrt() as f32
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
        let words = words(self.cosines.len() - 1);
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
                    *sum = self.cosines[differ as usize];
                }
            }
        }
    }
}
