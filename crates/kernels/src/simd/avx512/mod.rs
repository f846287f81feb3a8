//! AVX-512: sixteen lanes, 32 registers. Its foundation subset is enough; two extensions have the dot products of bf16 and
//! int8, and a third multiplies whole tiles of them.

mod ahead;
mod round;
mod rows;
pub(crate) mod tiles;
mod transpose;

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{Matrix, Simd, Work};
use crate::Bf16;

/// Proof that the processor has AVX-512F, and the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512<const EXTENSION: u8 = NONE>(());

/// Nothing more.
pub(crate) const NONE: u8 = 0;
/// AVX512_VNNI: dot products of int8.
pub(crate) const VNNI: u8 = 1;
/// AVX512_BF16 and AVX512_VNNI: no processor has the former alone, and results of int8 may be wanted in bf16.
pub(crate) const BF16: u8 = 2;
/// AMX, beside the other two: all processors with it have them.
pub(crate) const AMX: u8 = 3;

/// Whether an extension brings AVX512_BF16.
const fn has_bf16(extension: u8) -> bool {
    extension == BF16 || extension == AMX
}

impl<const EXTENSION: u8> Avx512<EXTENSION> {
    pub(crate) fn detect() -> Option<Self> {
        // AVX2 and FMA come with every AVX-512, but the compiler wants them named.
        let present =
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let extended = match EXTENSION {
            VNNI => is_x86_feature_detected!("avx512vnni"),
            BF16 => {
                is_x86_feature_detected!("avx512bf16")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            AMX => Avx512::<BF16>::detect().is_some() && tiles::permitted(),
            _ => true,
        };
        (present && extended).then_some(Avx512(()))
    }
}

/// Calls an intrinsic that only computes.
macro_rules! op {
    ($call:expr) => {{
        // SAFETY: an `Avx512` value proves that the processor has the instruction; it touches no memory.
        unsafe { $call }
    }};
}

/// A mask of the first `n` ≤ 16 lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl<const EXTENSION: u8> Simd for Avx512<EXTENSION> {
    type V = __m512;
    type I = __m512i;
    const WIDTH: usize = 16;
    /// 24 accumulators.
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn plain<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vnni,avx2,fma")]
        fn with_bf16<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        #[target_feature(enable = "avx512f,avx512vnni,avx2,fma")]
        fn with_vnni<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        match EXTENSION {
            BF16 | AMX => op!(with_bf16(self, work)),
            VNNI => op!(with_vnni(self, work)),
            _ => op!(plain(self, work)),
        }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: the caller vouches for 16 readable floats.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        // SAFETY: the caller vouches for 16 writable floats.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, n: usize, fill: f32) -> __m512 {
        // SAFETY: lanes that are masked out are not read; the caller vouches for the others.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(n), from) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize, v: __m512) {
        // SAFETY: lanes that are masked out are not written; the caller vouches for the others.
        unsafe { _mm512_mask_storeu_ps(to, first(n), v) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        op!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn with_sign(self, size: __m512, sign: __m512) -> __m512 {
        op!({
            let sign = _mm512_and_si512(_mm512_castps_si512(sign), _mm512_set1_epi32(i32::MIN));
            _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(size), sign))
        })
    }

    #[inline(always)]
    fn if_less(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        op!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes))
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        op!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn scale(self, a: __m512, n: __m512) -> __m512 {
        op!(_mm512_scalef_ps(a, n))
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // Not `_mm512_reduce_add_ps`, which leaves the order to the compiler.
        op!({
            let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v));
            let eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm256_castpd_ps(upper));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn largest(self, v: __m512) -> f32 {
        op!(_mm512_reduce_max_ps(v))
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a prefetch of any address is only a hint; every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: an `Avx512` value proves that the processor has the instructions; the rest is the caller's promise.
        unsafe { transpose::transpose(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> __m512i {
        // SAFETY: the caller vouches for 16 readable words.
        unsafe { _mm512_loadu_epi32(from.cast()) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m512i {
        op!(_mm512_set1_epi32(word as i32))
    }

    #[inline(always)]
    fn add_words(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn mul_words(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn to_floats(self, words: __m512i) -> __m512 {
        op!(_mm512_cvtepi32_ps(words))
    }

    #[inline(always)]
    fn lower(self, words: __m512i) -> __m512 {
        op!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)))
    }

    #[inline(always)]
    fn upper(self, words: __m512i) -> __m512 {
        op!(_mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32 as i32))))
    }

    #[inline(always)]
    fn dot_bf16(self, a: __m512i, b: __m512i, sum: __m512) -> __m512 {
        if has_bf16(EXTENSION) {
            // SAFETY: an `Avx512<BF16>`, and one of more, proves that the processor has the instruction. Both types are 512 plain bits.
            unsafe {
                let (a, b) = (transmute::<__m512i, __m512bh>(a), transmute::<__m512i, __m512bh>(b));
                _mm512_dpbf16_ps(sum, a, b)
            }
        } else {
            let sum = self.fma(self.lower(a), self.lower(b), sum);
            self.fma(self.upper(a), self.upper(b), sum)
        }
    }

    const OFFSET: u8 = 128;

    #[inline(always)]
    fn dot_int8(self, a: __m512i, b: __m512i, sum: __m512i) -> __m512i {
        if EXTENSION == VNNI || has_bf16(EXTENSION) {
            op!(_mm512_dpbusd_epi32(sum, a, b))
        } else {
            // Never the best choice: see `Kernels::vectorize_int8`.
            op!({
                let mut sum = sum;
                for byte in 0..4 {
                    let shift = _mm_cvtsi32_si128(24 - 8 * byte);
                    let a = _mm512_srli_epi32::<24>(_mm512_sll_epi32(a, shift));
                    let b = _mm512_srai_epi32::<24>(_mm512_sll_epi32(b, shift));
                    sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(a, b));
                }
                sum
            })
        }
    }

    const WIDENS_BF16: bool = !has_bf16(EXTENSION);

    const TILES_F32: bool = true;

    #[inline(always)]
    unsafe fn tile_f32<const ROWS: usize>(self, matrix: &Matrix) {
        // SAFETY: an `Avx512` value proves that the processor has AVX-512F; the caller's promise.
        unsafe { rows::multiply::<ROWS>(matrix) }
    }

    const MATRIX_ROWS: usize = if EXTENSION == AMX { 32 } else { 0 };
    const MATRIX_STEPS: usize = tiles::STEPS;

    #[inline(always)]
    unsafe fn multiply_bf16(self, matrix: &Matrix) {
        if EXTENSION == AMX {
            // SAFETY: an `Avx512<AMX>` proves that the registers are permitted; the rest is the caller's promise.
            unsafe { tiles::multiply_bf16(matrix) }
        }
    }

    #[inline(always)]
    unsafe fn multiply_int8(self, matrix: &Matrix) {
        if EXTENSION == AMX {
            // SAFETY: as above.
            unsafe { tiles::multiply_int8(matrix) }
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, n: usize, v: __m512) {
        op!({
            let rounded: __m256i = if has_bf16(EXTENSION) {
                transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v))
            } else {
                round::to_bf16(v)
            };
            if n == Self::WIDTH {
                _mm256_storeu_si256(to.cast(), rounded);
            } else {
                let mut lanes = [0u16; 16];
                _mm256_storeu_si256(lanes.as_mut_ptr().cast(), rounded);
                std::ptr::copy_nonoverlapping(lanes.as_ptr(), to.cast(), n);
            }
        })
    }

    #[inline(always)]
    unsafe fn store_int8(self, to: *mut u8, n: usize, v: __m512, offset: u8) {
        // SAFETY: `n` bytes, for which the caller vouches.
        unsafe {
            let whole = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(i32::from(offset)));
            let bytes = _mm512_cvtepi32_epi8(whole);
            if n == Self::WIDTH {
                _mm_storeu_si128(to.cast(), bytes);
            } else {
                let mut lanes = [0u8; 16];
                _mm_storeu_si128(lanes.as_mut_ptr().cast(), bytes);
                std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
            }
        }
    }
}
