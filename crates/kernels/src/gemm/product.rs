//! What the precisions do differently in a tile: how a step multiplies, what sums start at and what they end as.

use super::tile::Tile;
use crate::Kernels;
use crate::simd::{Matrix, Simd, WIDEST, Work};

/// One precision's part in a [`Tile`](super::Tile).
pub(crate) trait Product: Copy {
    /// 32 bits.
    type Word: Copy;
    /// The numbers in a word.
    const NUMBERS: usize;
    /// A vector of them.
    type Factor<S: Simd>: Copy;
    /// A vector of unfinished sums.
    type Sum<S: Simd>: Copy;

    /// Whether registers that hold whole tiles multiply these numbers, where there are any.
    const IN_MATRICES: bool = false;

    /// The most rows of a tile.
    fn most_rows<S: Simd>() -> usize {
        if Self::IN_MATRICES && S::MATRIX_ROWS > 0 { S::MATRIX_ROWS } else { Self::vector_rows::<S>() }
    }

    /// The most rows whose sums vector registers hold; at most `TILE_ROWS`.
    fn vector_rows<S: Simd>() -> usize {
        S::TILE_ROWS
    }

    /// Runs a tile in them. Called where there are such registers and steps enough for them.
    ///
    /// # Safety
    /// As for [`Tile::run_rows`].
    #[inline(always)]
    unsafe fn multiply_matrix<S: Simd>(tile: Tile<Self>, s: S, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { tile.run_by_vectors(s, rows) }
    }

    /// Runs a tile of `ROWS` rows in vectors, if the instruction set has a way of its own for that; says whether it did.
    ///
    /// # Safety
    /// As for [`Tile::run_rows`].
    #[inline(always)]
    unsafe fn multiply_rows<S: Simd, const ROWS: usize>(_tile: &Tile<Self>, _: S) -> bool {
        false
    }

    /// The product of a tile that starts with that row of this one.
    fn at_row(self, row: usize) -> Self;

    /// Runs `work` compiled for the instructions that this precision wants.
    fn vectorize<W: Work>(kernels: Kernels, work: W) -> W::Output;

    /// # Safety
    /// `from` can be read; it need not be aligned.
    unsafe fn broadcast<S: Simd>(s: S, from: *const Self::Word) -> Self::Factor<S>;

    /// # Safety
    /// `WIDTH` words can be read at `from`.
    unsafe fn load<S: Simd>(s: S, from: *const Self::Word) -> Self::Factor<S>;

    /// `sum + a · b`, lane by lane; in a word of several numbers, the sum of their products.
    fn add<S: Simd>(s: S, a: Self::Factor<S>, b: Self::Factor<S>, sum: Self::Sum<S>) -> Self::Sum<S>;

    /// Adds all steps of a tile of `ROWS` rows at once, if the instruction set has a way of its own; says whether it did.
    ///
    /// # Safety
    /// As for [`Tile::run_rows`], of a, b and depth.
    #[inline(always)]
    unsafe fn add_all<S: Simd, const ROWS: usize>(
        _: S,
        _a: *const Self::Word,
        _a_stride: usize,
        _b: *const Self::Word,
        _depth: usize,
        _sums: &mut [[Self::Sum<S>; 2]; ROWS],
    ) -> bool {
        false
    }

    /// What the sums of the tile's row `row` start at: in its left (0) or right (1) vector.
    ///
    /// # Safety
    /// The tile has that row.
    unsafe fn start<S: Simd>(self, s: S, row: usize, half: usize) -> Self::Sum<S>;

    /// The results of a tile of `ROWS` rows.
    ///
    /// # Safety
    /// The tile has that many rows.
    unsafe fn finish<S: Simd, const ROWS: usize>(self, s: S, sums: [[Self::Sum<S>; 2]; ROWS]) -> [[S::V; 2]; ROWS];
}

/// Where floating-point sums start.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    /// Row r starts with the `PANEL` floats at `at + r · stride`.
    pub at: *const f32,
    pub stride: usize,
}

static ZEROS: [f32; 2 * WIDEST] = [0.0; 2 * WIDEST];

impl Start {
    /// At 0.
    pub(crate) fn zero() -> Self {
        Start { at: ZEROS.as_ptr(), stride: 0 }
    }

    /// This, unless it is 0.
    fn unless_zero(self) -> Option<Self> {
        (self.at != ZEROS.as_ptr()).then_some(self)
    }

    pub(super) fn at_row(self, row: usize) -> Self {
        Start { at: self.at.wrapping_add(row * self.stride), ..self }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, row: usize, half: usize) -> S::V {
        // SAFETY: who made it promised `PANEL`, two vectors, of floats for each row of the tile.
        unsafe { s.load(self.at.add(row * self.stride + half * S::WIDTH)) }
    }
}

/// f32 times f32.
#[derive(Clone, Copy)]
pub(crate) struct F32Product(pub Start);

impl Product for F32Product {
    type Word = f32;
    const NUMBERS: usize = 1;
    type Factor<S: Simd> = S::V;
    type Sum<S: Simd> = S::V;

    #[inline(always)]
    unsafe fn multiply_rows<S: Simd, const ROWS: usize>(tile: &Tile<Self>, s: S) -> bool {
        if S::TILES_F32 {
            let matrix = Matrix { depth: tile.depth, ..tile.matrix::<S>(ROWS, Some(tile.product.0)) };
            // SAFETY: the caller's promise.
            unsafe { s.tile_f32::<ROWS>(&matrix) };
        }
        S::TILES_F32
    }

    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        Self(self.0.at_row(row))
    }

    fn vectorize<W: Work>(kernels: Kernels, work: W) -> W::Output {
        kernels.vectorize(work)
    }

    #[inline(always)]
    unsafe fn broadcast<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: the caller's promise.
        s.splat(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.load(from) }
    }

    #[inline(always)]
    fn add<S: Simd>(s: S, a: S::V, b: S::V, sum: S::V) -> S::V {
        s.fma(a, b, sum)
    }

    #[inline(always)]
    unsafe fn start<S: Simd>(self, s: S, row: usize, half: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { self.0.load(s, row, half) }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const ROWS: usize>(self, _: S, sums: [[S::V; 2]; ROWS]) -> [[S::V; 2]; ROWS] {
        sums
    }
}

/// bf16 times bf16, two in a word, added up in f32.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Product(pub Start);

impl Product for Bf16Product {
    type Word = u32;
    const NUMBERS: usize = 2;
    type Factor<S: Simd> = S::I;
    type Sum<S: Simd> = S::V;
    const IN_MATRICES: bool = true;

    fn vector_rows<S: Simd>() -> usize {
        S::TILE_ROWS_BF16
    }

    #[inline(always)]
    unsafe fn multiply_matrix<S: Simd>(tile: Tile<Self>, s: S, rows: usize) {
        // SAFETY: the caller's promise, of some steps; of the others, which continue what is in c then.
        unsafe {
            s.multiply_bf16(&tile.matrix::<S>(rows, tile.product.0.unless_zero()));
            if tile.matrix_steps::<S>() < tile.depth {
                let so_far = Bf16Product(Start { at: tile.c, stride: tile.c_stride });
                tile.after_matrix::<S, _>(so_far).run_by_vectors(s, rows);
            }
        }
    }

    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        Self(self.0.at_row(row))
    }

    fn vectorize<W: Work>(kernels: Kernels, work: W) -> W::Output {
        kernels.vectorize_bf16(work)
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
    fn add<S: Simd>(s: S, a: S::I, b: S::I, sum: S::V) -> S::V {
        s.dot_bf16(a, b, sum)
    }

    #[inline(always)]
    unsafe fn start<S: Simd>(self, s: S, row: usize, half: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { self.0.load(s, row, half) }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const ROWS: usize>(self, _: S, sums: [[S::V; 2]; ROWS]) -> [[S::V; 2]; ROWS] {
        sums
    }
}
