//! Whole numbers within ±127, four in a word.

use std::ops::Range;

use super::tile::{self, Tiles};
use super::walk::{BLOCK, QUERIES, Sums};
use crate::simd::{Simd, Work};

/// Σ a·b of whole numbers.
#[derive(Clone, Copy)]
pub(super) struct Int8<'a> {
    /// `words` words each, with the instruction set's offset added to each byte.
    pub vectors: &'a [u32],
    /// As many, without.
    pub queries: &'a [u32],
    /// For each query, what the lanes of its sums start at: a vector of words, which takes the offset off again.
    pub starts: &'a [u32],
    /// Words of a vector, a multiple of `WIDTH`; what is too many is 0 in queries.
    pub words: usize,
}

/// What this instruction set wants: words in a vector, and what it adds to each byte of the matrix.
pub(super) struct Layout;

impl Work for Layout {
    type Output = (usize, u8);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, u8) {
        (S::WIDTH, S::OFFSET)
    }
}

/// −`offset` · Σ of each lane's bytes of a query.
pub(super) fn starts(query: &[u32], offset: u8, to: &mut [u32]) {
    to.fill(0);
    for words in query.chunks_exact(to.len()) {
        for (to, word) in to.iter_mut().zip(words) {
            let sum: i32 = word.to_ne_bytes().iter().map(|&byte| i32::from(byte as i8)).sum();
            *to = to.wrapping_sub((sum * i32::from(offset)) as u32);
        }
    }
}

impl Sums for Int8<'_> {
    #[inline(always)]
    fn block<S: Simd>(self, s: S, vectors: Range<usize>, queries: Range<usize>, sums: &mut [f32; QUERIES * BLOCK]) {
        tile::block(s, self, vectors, queries, sums);
    }
}

impl Tiles for Int8<'_> {
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const Q: usize>(self, s: S, vector: usize, query: usize) -> [[f32; Q]; V] {
        let words = self.words;
        assert!(words.is_multiple_of(S::WIDTH));
        let vectors = self.vectors[vector * words..(vector + V) * words].as_ptr();
        let queries = self.queries[query * words..(query + Q) * words].as_ptr();
        let starts = self.starts[query * S::WIDTH..(query + Q) * S::WIDTH].as_ptr();
        let mut sums = [[s.splat_word(0); Q]; V];
        // SAFETY: in each of the V vectors and Q queries WIDTH words follow `i`; there are WIDTH starts for each query.
        unsafe {
            for sums in &mut sums {
                for (q, sum) in sums.iter_mut().enumerate() {
                    *sum = s.load_words(starts.add(q * S::WIDTH));
                }
            }
            for i in (0..words).step_by(S::WIDTH) {
                let mut b = [s.splat_word(0); Q];
                for (q, b) in b.iter_mut().enumerate() {
                    *b = s.load_words(queries.add(q * words + i));
                }
                for (v, sums) in sums.iter_mut().enumerate() {
                    let a = s.load_words(vectors.add(v * words + i));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = s.dot_int8(a, b, *sum);
                    }
                }
            }
        }
        let mut totals = [[0.0; Q]; V];
        for (total, sum) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *total = s.sum(s.to_floats(*sum));
        }
        totals
    }
}
