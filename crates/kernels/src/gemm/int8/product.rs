//! How int8 multiplies in a tile.

use crate::Kernels;
use crate::gemm::product::{Product, Start};
use crate::gemm::tile::Tile;
use crate::simd::{Simd, Work};

/// int8 times int8, four in a word, added up in whole numbers of 32 bits; then in f32 the scales, the bias and the channels
/// kept in f32.
///
/// Σ (x − zero) · w is Σ x · w − zero · Σ w, so the zero point only changes what the sums start at.
#[derive(Clone, Copy)]
pub(in crate::gemm) struct Int8Product {
    /// `PANEL` words: −Σ w.
    pub starts: *const u32,
    /// `PANEL` floats.
    pub scales: *const f32,
    /// `PANEL` floats.
    pub bias: *const f32,
    /// One for each row of the tile.
    pub row_scales: *const f32,
    /// One for each row of the tile.
    pub row_zeros: *const i32,
    /// The kept channels: `outliers` for each row of the tile.
    pub x: *const f32,
    /// Their weights, `PANEL` for each.
    pub kept: *const f32,
    pub outliers: usize,
}

impl Product for Int8Product {
    type Word = u32;
    const NUMBERS: usize = 4;
    type Factor<S: Simd> = S::I;
    type Sum<S: Simd> = S::I;
    const IN_MATRICES: bool = true;

    #[inline(always)]
    unsafe fn multiply_matrix<S: Simd>(tile: Tile<Self>, s: S, rows: usize) {
        // SAFETY: the caller's promise, of some steps; of the others, which continue what is in c then.
        unsafe {
            s.multiply_int8(&tile.matrix::<S>(rows, None));
            let so_far = Start { at: tile.c, stride: tile.c_stride };
            tile.after_matrix::<S, _>(Continued { product: tile.product, so_far }).run_by_vectors(s, rows);
        }
    }

    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        Int8Product {
            row_scales: self.row_scales.wrapping_add(row),
            row_zeros: self.row_zeros.wrapping_add(row),
            x: self.x.wrapping_add(row * self.outliers),
            ..self
        }
    }

    fn vectorize<W: Work>(kernels: Kernels, work: W) -> W::Output {
        kernels.vectorize_int8(work)
    }

    #[inline(always)]
    unsafe fn broadcast<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: the caller's promise.
        s.splat_word(unsafe { from.read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: the caller's promise.
        unsafe { s.load_words(from) }
    }

    #[inline(always)]
    fn add<S: Simd>(s: S, a: S::I, b: S::I, sum: S::I) -> S::I {
        s.dot_int8(a, b, sum)
    }

    #[inline(always)]
    unsafe fn add_all<S: Simd, const ROWS: usize>(
        s: S,
        a: *const u32,
        a_stride: usize,
        b: *const u32,
        depth: usize,
        sums: &mut [[S::I; 2]; ROWS],
    ) -> bool {
        if S::TILES_INT8 {
            // SAFETY: the caller's promise.
            unsafe { s.tile_int8(a, a_stride, b, depth, sums) };
        }
        S::TILES_INT8
    }

    #[inline(always)]
    unsafe fn start<S: Simd>(self, s: S, row: usize, half: usize) -> S::I {
        // SAFETY: a panel of words; the caller vouches for the row.
        unsafe {
            let zero = s.splat_word(*self.row_zeros.add(row) as u32);
            s.mul_words(zero, s.load_words(self.starts.add(half * S::WIDTH)))
        }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const ROWS: usize>(self, s: S, sums: [[S::I; 2]; ROWS]) -> [[S::V; 2]; ROWS] {
        let mut results = [[s.splat(0.0); 2]; ROWS];
        // SAFETY: `PANEL`, two vectors, of floats in each array that belongs to columns; the caller vouches for the rows.
        unsafe {
            for half in 0..2 {
                let scale = s.load(self.scales.add(half * S::WIDTH));
                let bias = s.load(self.bias.add(half * S::WIDTH));
                for r in 0..ROWS {
                    let sum = s.mul(s.to_floats(sums[r][half]), s.splat(*self.row_scales.add(r)));
                    results[r][half] = s.fma(sum, scale, bias);
                }
            }
            for o in 0..self.outliers {
                let left = s.load(self.kept.add(o * S::PANEL));
                let right = s.load(self.kept.add(o * S::PANEL + S::WIDTH));
                for (r, result) in results.iter_mut().enumerate() {
                    let x = s.splat(*self.x.add(r * self.outliers + o));
                    result[0] = s.fma(x, left, result[0]);
                    result[1] = s.fma(x, right, result[1]);
                }
            }
        }
        results
    }
}

/// A product of which some steps are done: the bits of their sums lie where floats will.
#[derive(Clone, Copy)]
struct Continued {
    product: Int8Product,
    so_far: Start,
}

impl Product for Continued {
    type Word = u32;
    const NUMBERS: usize = 4;
    type Factor<S: Simd> = S::I;
    type Sum<S: Simd> = S::I;
    const IN_MATRICES: bool = true;

    fn vectorize<W: Work>(kernels: Kernels, work: W) -> W::Output {
        Int8Product::vectorize(kernels, work)
    }

    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        Continued { product: self.product.at_row(row), so_far: self.so_far.at_row(row) }
    }

    #[inline(always)]
    unsafe fn broadcast<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: the caller's promise.
        unsafe { Int8Product::broadcast(s, from) }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: the caller's promise.
        unsafe { Int8Product::load(s, from) }
    }

    #[inline(always)]
    fn add<S: Simd>(s: S, a: S::I, b: S::I, sum: S::I) -> S::I {
        Int8Product::add(s, a, b, sum)
    }

    #[inline(always)]
    unsafe fn start<S: Simd>(self, s: S, row: usize, half: usize) -> S::I {
        // SAFETY: the caller's promise, for which sums have been stored.
        unsafe {
            let so_far = self.so_far.at.add(row * self.so_far.stride + half * S::WIDTH);
            s.add_words(self.product.start(s, row, half), s.load_words(so_far.cast()))
        }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const ROWS: usize>(self, s: S, sums: [[S::I; 2]; ROWS]) -> [[S::V; 2]; ROWS] {
        // SAFETY: the caller's promise.
        unsafe { self.product.finish(s, sums) }
    }
}
