//! What attention does differently in f32 and in bf16: how numbers turn into the words that the micro-kernel reads.

use crate::Bf16;
use crate::bf16::{pair, round_row};
use crate::gemm::{Bf16Product, F32Product, Product, Start};
use crate::math::{exp, rough_exp2};
use crate::output::Element;
use crate::simd::Simd;

/// A number that queries, keys and values may consist of.
pub(super) trait Number: Element + Default + Sync {
    type Product: Product;

    /// Sums that start there.
    fn product(start: Start) -> Self::Product;

    /// A row of floats, rounded to these numbers, as words; what lacks in the last one is 0.
    fn words<S: Simd>(s: S, from: &[f32], to: &mut [u32]);

    /// Word `w` of a row of numbers; what lacks in the last one is 0.
    fn word(row: &[Self], w: usize) -> u32;

    /// Words of which each holds the numbers that have the same place in as many rows as a word holds numbers: the first row
    /// and, if there are two, the second one, which is absent, so zeros, if there is no such row.
    fn beside(first: &[Self], second: Option<&[Self]>, to: &mut [u32]);

    /// What exponents of e are multiplied with for [`power`](Self::power).
    const EXPONENT: f32;

    /// e to the power of `exponent` / `EXPONENT` ≤ 0, so exactly that rounding it to these numbers costs more.
    fn power<S: Simd>(s: S, exponent: S::V) -> S::V;

    /// Replaces a vector of weights at place `at` of a row of floats by numbers, which start where the row starts.
    ///
    /// # Safety
    /// The row is written up to there, and all that follows `at` in a row of floats is left as it is.
    unsafe fn store_weights<S: Simd>(s: S, row: *mut f32, at: usize, weights: S::V);
}

impl Number for f32 {
    type Product = F32Product;

    #[inline(always)]
    fn product(start: Start) -> F32Product {
        F32Product(start)
    }

    #[inline(always)]
    fn words<S: Simd>(_: S, from: &[f32], to: &mut [u32]) {
        for (word, x) in to.iter_mut().zip(from) {
            *word = x.to_bits();
        }
    }

    #[inline(always)]
    fn word(row: &[f32], w: usize) -> u32 {
        row[w].to_bits()
    }

    #[inline(always)]
    fn beside(first: &[f32], _: Option<&[f32]>, to: &mut [u32]) {
        for (word, x) in to.iter_mut().zip(first) {
            *word = x.to_bits();
        }
    }

    const EXPONENT: f32 = 1.0;

    #[inline(always)]
    fn power<S: Simd>(s: S, exponent: S::V) -> S::V {
        exp(s, exponent)
    }

    #[inline(always)]
    unsafe fn store_weights<S: Simd>(s: S, row: *mut f32, at: usize, weights: S::V) {
        // SAFETY: a vector of the row, as the caller says.
        unsafe { s.store(row.add(at), weights) }
    }
}

impl Number for Bf16 {
    type Product = Bf16Product;

    #[inline(always)]
    fn product(start: Start) -> Bf16Product {
        Bf16Product(start)
    }

    #[inline(always)]
    fn words<S: Simd>(s: S, from: &[f32], to: &mut [u32]) {
        assert!(from.len() <= 2 * to.len());
        if let (true, Some(last)) = (from.len() % 2 == 1, to.last_mut()) {
            *last = 0;
        }
        // SAFETY: as many words, of two numbers each, follow the first one; any bits are a number.
        round_row(s, from, unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast(), from.len()) });
    }

    #[inline(always)]
    fn word(row: &[Bf16], w: usize) -> u32 {
        pair(row[2 * w], row.get(2 * w + 1).copied().unwrap_or_default())
    }

    #[inline(always)]
    fn beside(first: &[Bf16], second: Option<&[Bf16]>, to: &mut [u32]) {
        match second {
            Some(second) => {
                for ((word, &a), &b) in to.iter_mut().zip(first).zip(second) {
                    *word = pair(a, b);
                }
            }
            None => {
                for (word, &a) in to.iter_mut().zip(first) {
                    *word = pair(a, Bf16::default());
                }
            }
        }
    }

    const EXPONENT: f32 = std::f32::consts::LOG2_E;

    #[inline(always)]
    fn power<S: Simd>(s: S, exponent: S::V) -> S::V {
        rough_exp2(s, exponent)
    }

    #[inline(always)]
    unsafe fn store_weights<S: Simd>(s: S, row: *mut f32, at: usize, weights: S::V) {
        // SAFETY: half as long as the floats, so it overwrites only what the caller has read.
        unsafe { s.store_bf16(row.cast::<Bf16>().add(at), S::WIDTH, weights) }
    }
}
