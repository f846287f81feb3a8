//! AVX2 with FMA: eight lanes, 16 registers. What every x86-64 processor since about 2015 has. Newer ones add the dot product
//! of int8 (AVX-VNNI).

use std::arch::x86_64::*;

use super::{Simd, Work};

/// Proof that the processor has AVX2 and FMA, and AVX-VNNI if so said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2<const VNNI: bool = false>(());

impl<const VNNI: bool> Avx2<VNNI> {
    pub(crate) fn detect() -> Option<Self> {
        let present = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let extended = !VNNI || is_x86_feature_detected!("avxvnni");
        (present && extended).then_some(Avx2(()))
    }
}

/// Calls an intrinsic that only computes.
macro_rules! op {
    ($call:expr) => {{
        // SAFETY: an `Avx2` value proves that the processor has the instruction; it touches no memory.
        unsafe { $call }
    }};
}

/// All bits set in the first `n` ≤ 8 lanes.
#[inline(always)]
fn first(n: usize) -> __m256i {
    op!(_mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type V = __m256;
    type I = __m256i;
    const WIDTH: usize = 8;
    /// 12 accumulators.
    const TILE_ROWS: usize = 6;
    /// For attention and few rows: many are multiplied in f32. 112 Gop/s where 4 rows got 96 and 6 rows, whose sums were in memory at times,
    /// 59 (BERT-base, two threads of a Zen 4, when all were multiplied so).
    const TILE_ROWS_BF16: usize = 3;
    const WIDENS_BF16: bool = true;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,fma")]
        fn plain<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        #[target_feature(enable = "avx2,fma,avxvnni")]
        fn with_vnni<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        if VNNI { op!(with_vnni(self, work)) } else { op!(plain(self, work)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the caller vouches for 8 readable floats.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        // SAFETY: the caller vouches for 8 writable floats.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize, fill: f32) -> __m256 {
        // SAFETY: lanes that are masked out are not read; the caller vouches for the others.
        unsafe {
            let mask = first(n);
            _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask))
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize, v: __m256) {
        // SAFETY: lanes that are masked out are not written; the caller vouches for the others.
        unsafe { _mm256_maskstore_ps(to, first(n), v) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        op!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        op!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn with_sign(self, size: __m256, sign: __m256) -> __m256 {
        op!(_mm256_or_ps(size, _mm256_and_ps(sign, _mm256_set1_ps(-0.0))))
    }

    #[inline(always)]
    fn if_less(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        op!(_mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)))
    }

    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        op!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    /// In two steps, as 2ⁿ itself may be no normal number where the result is one.
    #[inline(always)]
    fn scale(self, a: __m256, n: __m256) -> __m256 {
        op!({
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            let bias = _mm256_set1_epi32(127);
            let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let second = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias));
            _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second))
        })
    }

    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        op!({
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn largest(self, v: __m256) -> f32 {
        op!({
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a prefetch of any address is only a hint; every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> __m256i {
        // SAFETY: the caller vouches for 8 readable words.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m256i {
        op!(_mm256_set1_epi32(word as i32))
    }

    #[inline(always)]
    fn add_words(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn mul_words(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn to_floats(self, words: __m256i) -> __m256 {
        op!(_mm256_cvtepi32_ps(words))
    }

    #[inline(always)]
    fn lower(self, words: __m256i) -> __m256 {
        op!(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)))
    }

    #[inline(always)]
    fn upper(self, words: __m256i) -> __m256 {
        op!(_mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(0xffff_0000_u32 as i32))))
    }

    const OFFSET: u8 = if VNNI { 128 } else { 0 };

    /// Without VNNI, |b| times a with b's sign: pairs of products are at most 2 · 127², which 16 bits hold. (This is why rows
    /// leave out the byte −128, which has no opposite. |a| times b with a's sign could have it, but wants more registers.)
    #[inline(always)]
    fn dot_int8(self, a: __m256i, b: __m256i, sum: __m256i) -> __m256i {
        if VNNI {
            op!(_mm256_dpbusd_avx_epi32(sum, a, b))
        } else {
            op!({
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(a, b));
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            })
        }
    }

    #[inline(always)]
    unsafe fn store_int8(self, to: *mut u8, n: usize, v: __m256, offset: u8) {
        // SAFETY: `n` ≤ 8 bytes, for which the caller vouches.
        unsafe {
            let whole = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(i32::from(offset)));
            // The lowest byte of each word, four words in the lowest word of either half.
            let gather = _mm256_set1_epi32(0x0c08_0400);
            let bytes = _mm256_shuffle_epi8(whole, gather);
            let lower = _mm_cvtsi128_si32(_mm256_castsi256_si128(bytes)).to_le_bytes();
            let upper = _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(bytes)).to_le_bytes();
            let both = [lower, upper];
            std::ptr::copy_nonoverlapping(both.as_ptr().cast(), to, n);
        }
    }
}
