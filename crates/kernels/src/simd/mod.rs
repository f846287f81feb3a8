//! Vectors of one instruction set, and how generic code gets compiled for it.
//!
//! Everything numeric in this crate is written once, generically over [`Simd`]: read `S::V` as "a few floats side by
//! side" and the code says what it computes. [`portable`] gives the meaning of every operation in plain Rust; the other
//! files say which instruction does the same.
//!
//! A value of an implementing type is a *proof* that the processor has those instructions (its constructor checks), which
//! is why arithmetic is safe to call and only memory access is not.
//!
//! Two rules keep generic code fast. A function on the way from [`Simd::vectorize`] to an operation is `#[inline(always)]`,
//! because only code that is inlined into a function with the target feature may use its registers. And closures stay out
//! of inner loops, for the same reason.

use crate::Bf16;

pub(crate) mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;

/// The widest vector of any instruction set, in floats.
pub(crate) const WIDEST: usize = 16;

/// The most rows of any instruction set's micro-kernel tile.
pub(crate) const MOST_TILE_ROWS: usize = 32;

/// A computation that [`Simd::vectorize`] compiles for one instruction set.
pub(crate) trait Work {
    type Output;

    /// Must be `#[inline(always)]` in every implementation.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A product of some rows with a panel, for a loop of the instruction set's own: in registers that hold whole tiles, or f32 in vectors.
/// `c = start + a · b`.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64 has such loops"))]
pub(crate) struct Matrix {
    /// 1 to [`Simd::MATRIX_ROWS`], in vectors to [`Simd::TILE_ROWS`].
    pub rows: usize,
    /// Row r of a starts at `a + r · a_stride`.
    pub a: *const u32,
    pub a_stride: usize,
    /// Step k of b starts at `b + k · PANEL`.
    pub b: *const u32,
    /// Whether of each [`Simd::MATRIX_STEPS`] steps the left halves come first, side by side, and then the right ones.
    pub halves_apart: bool,
    /// Steps of the sum: a multiple of [`Simd::MATRIX_STEPS`], at least one; in vectors any number.
    pub depth: usize,
    /// Where sums start, row r at `start + r · start_stride`; null: at 0.
    pub start: *const f32,
    pub start_stride: usize,
    /// Row r of c starts at `c + r · c_stride`. It may be where the sums start.
    pub c: *mut f32,
    pub c_stride: usize,
    /// What to prefetch: for each [`Simd::MATRIX_STEPS`] so many times a line of each of four streams, which lie `ahead_apart` floats apart.
    pub ahead: *const f32,
    pub ahead_apart: usize,
    pub ahead_lines: usize,
}

/// One instruction set: a vector of [`Simd::WIDTH`] floats and its operations, lane by lane unless said otherwise.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of floats.
    type V: Copy;

    /// As many words of 32 bits: whole numbers, or in each word two bf16 or four int8, the first one lowest.
    type I: Copy;

    /// Floats in a vector; at most [`WIDEST`].
    const WIDTH: usize;

    /// Rows of the matrix-product tile (see `gemm::tile`), chosen so that `TILE_ROWS` × 2 accumulators, two vectors of
    /// weights and one broadcast fill the registers; at most [`MOST_TILE_ROWS`].
    const TILE_ROWS: usize;

    /// Rows of that tile in bf16: fewer where no instruction multiplies both numbers of a word ([`dot_bf16`](Self::dot_bf16)) and there are
    /// no registers for the halves of two vectors of weights and of a broadcast.
    const TILE_ROWS_BF16: usize = Self::TILE_ROWS;

    /// Columns of a panel of packed weights: two vectors, so that each broadcast of an input feeds two multiply-adds.
    const PANEL: usize = 2 * Self::WIDTH;

    /// Whether a product's bf16 are better made floats before its tiles read them several times (`gemm::wide`): where no instruction
    /// multiplies both numbers of a word, but not in the portable set, which is the definition.
    const WIDENS_BF16: bool = false;

    /// Runs `work` inside a function that is compiled for this instruction set.
    fn vectorize<W: Work>(self, work: W) -> W::Output;

    /// # Safety
    /// `WIDTH` floats can be read at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// # Safety
    /// `WIDTH` floats can be written at `to`.
    unsafe fn store(self, to: *mut f32, v: Self::V);

    /// Loads the first `n` lanes; the others get `fill`.
    ///
    /// # Safety
    /// `n ≤ WIDTH`, and `n` floats can be read at `from`.
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize, fill: f32) -> Self::V {
        let mut lanes = [fill; WIDEST];
        // SAFETY: the caller vouches for the source; n ≤ WIDTH ≤ WIDEST for the copy, and WIDTH ≤ WIDEST for the load.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
            self.load(lanes.as_ptr())
        }
    }

    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `n ≤ WIDTH`, and `n` floats can be written at `to`.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize, v: Self::V) {
        let mut lanes = [0.0; WIDEST];
        // SAFETY: the caller vouches for the target; n ≤ WIDTH ≤ WIDEST for the copy, and WIDTH ≤ WIDEST for the store.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
        }
    }

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;

    /// `a * b + c`: rounded once where the processor can, twice in the portable set.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// The larger; NaN where `b` is NaN. Give the value that may be NaN second.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;

    /// The smaller; NaN where `b` is NaN. Give the value that may be NaN second.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;

    fn abs(self, a: Self::V) -> Self::V;

    /// `size` (not negative) with the sign of `sign`.
    fn with_sign(self, size: Self::V, sign: Self::V) -> Self::V;

    /// `if a < b { yes } else { no }`; `no` where either is NaN.
    fn if_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    /// To the nearest whole number, ties to even, for |a| < 2²². Adding 1.5·2²³ leaves no bits for a fraction.
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        let shift = self.splat(12_582_912.0);
        self.sub(self.add(a, shift), shift)
    }

    /// `a · 2ⁿ` for whole numbers −200 < n < 200, overflowing to infinity and underflowing gradually.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;

    /// The sum of all lanes, always in the same order.
    fn sum(self, v: Self::V) -> f32;

    /// The largest lane.
    fn largest(self, v: Self::V) -> f32;

    /// Applies a scalar function to each lane: for what is too rare to vectorize.
    #[inline(always)]
    fn map(self, v: Self::V, f: impl Fn(f32) -> f32) -> Self::V {
        let mut lanes = [0.0; WIDEST];
        // SAFETY: WIDTH ≤ WIDEST.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            for lane in &mut lanes[..Self::WIDTH] {
                *lane = f(*lane);
            }
            self.load(lanes.as_ptr())
        }
    }

    /// Asks for the cache line at `at` to be brought into the second-level cache. Any address is fine.
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        let _ = at;
    }

    /// Transposes a block: `to[c · to_stride + r] = from[r · from_stride + c]` for r, c < `WIDTH`.
    ///
    /// # Safety
    /// All of those places can be read and written, and the two blocks do not overlap.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for r in 0..Self::WIDTH {
            for c in 0..Self::WIDTH {
                // SAFETY: the caller's promise, for this r and c. Rows of bf16 pairs may lie at any even address.
                unsafe { to.add(c * to_stride + r).write(from.add(r * from_stride + c).read_unaligned()) };
            }
        }
    }

    /// # Safety
    /// `WIDTH` words can be read at `from`, which need not be aligned.
    unsafe fn load_words(self, from: *const u32) -> Self::I;

    fn splat_word(self, word: u32) -> Self::I;

    /// The sum of whole numbers, as long as 32 bits hold it.
    fn add_words(self, a: Self::I, b: Self::I) -> Self::I;

    /// The product of whole numbers, as long as 32 bits hold it.
    fn mul_words(self, a: Self::I, b: Self::I) -> Self::I;

    /// Whole numbers as floats, rounded to nearest even.
    fn to_floats(self, words: Self::I) -> Self::V;

    /// The lower bf16 of each word.
    fn lower(self, words: Self::I) -> Self::V;

    /// The upper bf16 of each word.
    fn upper(self, words: Self::I) -> Self::V;

    /// `sum + a₀·b₀ + a₁·b₁` of the two bf16 in each word, in f32. Instructions that do this at once round as they please and
    /// take subnormals for 0.
    #[inline(always)]
    fn dot_bf16(self, a: Self::I, b: Self::I, sum: Self::V) -> Self::V {
        let sum = self.fma(self.lower(a), self.lower(b), sum);
        self.fma(self.upper(a), self.upper(b), sum)
    }

    /// What int8 inputs have added to them when they are stored: 128 where the instruction for [`dot_int8`](Self::dot_int8)
    /// wants its first factors unsigned, or else 0.
    const OFFSET: u8;

    /// `sum + a₀·b₀ + a₁·b₁ + a₂·b₂ + a₃·b₃` of the four int8 in each word, exactly, as long as 32 bits hold it. b is within
    /// ±127, a within ±127 + `OFFSET`, where `OFFSET` is not taken off.
    fn dot_int8(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I;

    /// Whether there is something better for a whole tile than one [`fma`](Self::fma) after the other.
    const TILES_F32: bool = false;

    /// The tile of `ROWS` ≤ [`TILE_ROWS`](Self::TILE_ROWS) rows, of any depth. Called where `TILES_F32` says so.
    ///
    /// # Safety
    /// a can be read for all rows and steps, b for `depth` × `PANEL` floats, where sums start for all rows of a panel; c can be written
    /// for as many.
    #[inline(always)]
    unsafe fn tile_f32<const ROWS: usize>(self, matrix: &Matrix) {
        let _ = matrix;
    }

    /// Whether there is something better for a whole tile than one [`dot_int8`](Self::dot_int8) after the other.
    const TILES_INT8: bool = false;

    /// Adds to each row's sums, left and right, `dot_int8` of the row's words and the panel's, for `depth` words: the rows start
    /// at `a + r · a_stride`, the panel's words at `b`. Called where `TILES_INT8` says so.
    ///
    /// # Safety
    /// All of them can be read; they need not be aligned.
    #[inline(always)]
    unsafe fn tile_int8<const ROWS: usize>(
        self,
        a: *const u32,
        a_stride: usize,
        b: *const u32,
        depth: usize,
        sums: &mut [[Self::I; 2]; ROWS],
    ) {
        let _ = (a, a_stride, b, depth, sums);
    }

    /// The most rows of a [`Matrix`], or 0 where no registers hold tiles.
    const MATRIX_ROWS: usize = 0;

    /// Steps of k that such registers take at a time.
    const MATRIX_STEPS: usize = 16;

    /// A product of bf16, called where `MATRIX_ROWS` is not 0. Each sum takes one k after the other and rounds after each.
    ///
    /// # Safety
    /// a can be read for all rows and steps, b for `depth` × `PANEL` words, where sums start for all rows of a panel; c can be written
    /// for as many.
    #[inline(always)]
    unsafe fn multiply_bf16(self, matrix: &Matrix) {
        let _ = matrix;
    }

    /// The same of int8, with sums in whole numbers of 32 bits: in `c` and where they start, too.
    ///
    /// # Safety
    /// As [`multiply_bf16`](Self::multiply_bf16).
    #[inline(always)]
    unsafe fn multiply_int8(self, matrix: &Matrix) {
        let _ = matrix;
    }

    /// Stores the first `n` lanes, rounded as [`Bf16::from_f32`] does.
    ///
    /// # Safety
    /// `n ≤ WIDTH`, and `n` bf16 can be written at `to`.
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, n: usize, v: Self::V) {
        let mut lanes = [0.0; WIDEST];
        // SAFETY: WIDTH ≤ WIDEST for the store; the caller vouches for the target.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            let rounded = lanes.map(Bf16::from_f32);
            std::ptr::copy_nonoverlapping(rounded.as_ptr(), to, n);
        }
    }

    /// Stores the first `n` lanes, rounded to nearest even, as bytes with `offset` added, modulo 256.
    ///
    /// # Safety
    /// `n ≤ WIDTH`, and `n` bytes can be written at `to`.
    #[inline(always)]
    unsafe fn store_int8(self, to: *mut u8, n: usize, v: Self::V, offset: u8) {
        let mut lanes = [0.0; WIDEST];
        // SAFETY: WIDTH ≤ WIDEST for the store; the caller vouches for the target.
        unsafe {
            self.store(lanes.as_mut_ptr(), self.round(v));
            let bytes = lanes.map(|x| (x as i32 as u8).wrapping_add(offset));
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
        }
    }
}
