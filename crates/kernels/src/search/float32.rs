//! Products and squared differences in f32.

use std::ops::Range;

use super::tile::{self, Tiles};
use super::walk::{BLOCK, QUERIES, Sums};
use crate::simd::Simd;

/// Σ a·b, or with `DISTANCE` Σ (a − b)².
#[derive(Clone, Copy)]
pub(super) struct Float32<'a, const DISTANCE: bool> {
    pub vectors: &'a [f32],
    pub queries: &'a [f32],
    pub dim: usize,
}

impl<const DISTANCE: bool> Sums for Float32<'_, DISTANCE> {
    #[inline(always)]
    fn block<S: Simd>(self, s: S, vectors: Range<usize>, queries: Range<usize>, sums: &mut [f32; QUERIES * BLOCK]) {
        tile::block(s, self, vectors, queries, sums);
    }
}

impl<const DISTANCE: bool> Tiles for Float32<'_, DISTANCE> {
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const Q: usize>(self, s: S, vector: usize, query: usize) -> [[f32; Q]; V] {
        let dim = self.dim;
        let vectors = self.vectors[vector * dim..(vector + V) * dim].as_ptr();
        let queries = self.queries[query * dim..(query + Q) * dim].as_ptr();
        let mut sums = [[s.splat(0.0); Q]; V];
        let whole = dim / S::WIDTH * S::WIDTH;
        // SAFETY: in each of the V vectors and Q queries WIDTH floats follow `i`, and `dim − whole` floats follow `whole`.
        unsafe {
            for i in (0..whole).step_by(S::WIDTH) {
                let mut b = [s.splat(0.0); Q];
                for (q, b) in b.iter_mut().enumerate() {
                    *b = s.load(queries.add(q * dim + i));
                }
                for (v, sums) in sums.iter_mut().enumerate() {
                    let a = s.load(vectors.add(v * dim + i));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = add::<S, DISTANCE>(s, a, b, *sum);
                    }
                }
            }
            if whole < dim {
                for (v, sums) in sums.iter_mut().enumerate() {
                    let a = s.load_first(vectors.add(v * dim + whole), dim - whole, 0.0);
                    for (q, sum) in sums.iter_mut().enumerate() {
                        let b = s.load_first(queries.add(q * dim + whole), dim - whole, 0.0);
                        *sum = add::<S, DISTANCE>(s, a, b, *sum);
                    }
                }
            }
        }
        let mut totals = [[0.0; Q]; V];
        for (total, sum) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *total = s.sum(*sum);
        }
        totals
    }
}

#[inline(always)]
fn add<S: Simd, const DISTANCE: bool>(s: S, a: S::V, b: S::V, sum: S::V) -> S::V {
    if DISTANCE {
        let difference = s.sub(a, b);
        s.fma(difference, difference, sum)
    } else {
        s.fma(a, b, sum)
    }
}
