//! NEON: four lanes, 32 registers. Every 64-bit ARM processor has it. Extensions have the dot products of bf16 and
//! int8, and products of small matrices of int8.

mod dot;
mod i8mm;
mod round;

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::{Simd, Work};
use crate::Bf16;

/// Proof that the processor has NEON, and the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon<const EXTENSION: u8 = NONE>(());

/// Nothing more.
pub(crate) const NONE: u8 = 0;
/// FEAT_BF16.
pub(crate) const BF16: u8 = 1;
/// FEAT_DotProd: dot products of int8.
pub(crate) const DOTPROD: u8 = 2;
/// FEAT_DotProd and FEAT_I8MM: products of matrices of int8, too.
pub(crate) const I8MM: u8 = 3;

impl<const EXTENSION: u8> Neon<EXTENSION> {
    pub(crate) fn detect() -> Option<Self> {
        let extended = match EXTENSION {
            BF16 => is_aarch64_feature_detected!("bf16"),
            DOTPROD => is_aarch64_feature_detected!("dotprod"),
            I8MM => is_aarch64_feature_detected!("dotprod") && is_aarch64_feature_detected!("i8mm"),
            _ => true,
        };
        (is_aarch64_feature_detected!("neon") && extended).then_some(Neon(()))
    }
}

/// Calls an intrinsic that only computes.
macro_rules! op {
    ($call:expr) => {{
        // SAFETY: a `Neon` value proves that the processor has the instruction; it touches no memory.
        unsafe { $call }
    }};
}

impl<const EXTENSION: u8> Simd for Neon<EXTENSION> {
    type V = float32x4_t;
    type I = uint32x4_t;
    const WIDTH: usize = 4;
    /// 24 accumulators.
    const TILE_ROWS: usize = 12;
    const WIDENS_BF16: bool = EXTENSION != BF16;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "neon")]
        fn plain<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        #[target_feature(enable = "neon,bf16")]
        fn with_bf16<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        #[target_feature(enable = "neon,dotprod")]
        fn with_dotprod<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        #[target_feature(enable = "neon,dotprod,i8mm")]
        fn with_i8mm<S: Simd, W: Work>(simd: S, work: W) -> W::Output {
            work.run(simd)
        }
        match EXTENSION {
            I8MM => op!(with_i8mm(self, work)),
            BF16 => op!(with_bf16(self, work)),
            DOTPROD => op!(with_dotprod(self, work)),
            _ => op!(plain(self, work)),
        }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        // SAFETY: the caller vouches for 4 readable floats.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: float32x4_t) {
        // SAFETY: the caller vouches for 4 writable floats.
        unsafe { vst1q_f32(to, v) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        op!(vdupq_n_f32(x))
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        op!(vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmaxq_f32(a, b))
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vminq_f32(a, b))
    }

    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        op!(vabsq_f32(a))
    }

    #[inline(always)]
    fn with_sign(self, size: float32x4_t, sign: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(vdupq_n_u32(1 << 31), sign, size))
    }

    #[inline(always)]
    fn if_less(self, a: float32x4_t, b: float32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(vcltq_f32(a, b), yes, no))
    }

    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        op!(vrndnq_f32(a))
    }

    /// In two steps, as 2ⁿ itself may be no normal number where the result is one.
    #[inline(always)]
    fn scale(self, a: float32x4_t, n: float32x4_t) -> float32x4_t {
        op!({
            let n = vcvtnq_s32_f32(n);
            let half = vshrq_n_s32::<1>(n);
            let bias = vdupq_n_s32(127);
            let first = vshlq_n_s32::<23>(vaddq_s32(half, bias));
            let second = vshlq_n_s32::<23>(vaddq_s32(vsubq_s32(n, half), bias));
            vmulq_f32(vmulq_f32(a, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second))
        })
    }

    #[inline(always)]
    fn sum(self, v: float32x4_t) -> f32 {
        op!(vaddvq_f32(v))
    }

    #[inline(always)]
    fn largest(self, v: float32x4_t) -> f32 {
        op!(vmaxvq_f32(v))
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> uint32x4_t {
        // SAFETY: the caller vouches for 4 readable words; a load of bytes needs no alignment.
        unsafe { vreinterpretq_u32_u8(vld1q_u8(from.cast())) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> uint32x4_t {
        op!(vdupq_n_u32(word))
    }

    #[inline(always)]
    fn add_words(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        op!(vaddq_u32(a, b))
    }

    #[inline(always)]
    fn mul_words(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        op!(vmulq_u32(a, b))
    }

    #[inline(always)]
    fn to_floats(self, words: uint32x4_t) -> float32x4_t {
        op!(vcvtq_f32_s32(vreinterpretq_s32_u32(words)))
    }

    #[inline(always)]
    fn lower(self, words: uint32x4_t) -> float32x4_t {
        op!(vreinterpretq_f32_u32(vshlq_n_u32::<16>(words)))
    }

    #[inline(always)]
    fn upper(self, words: uint32x4_t) -> float32x4_t {
        op!(vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(0xffff_0000))))
    }

    #[inline(always)]
    fn dot_bf16(self, a: uint32x4_t, b: uint32x4_t, sum: float32x4_t) -> float32x4_t {
        if EXTENSION == BF16 {
            op!(dot::bf16(a, b, sum))
        } else {
            let sum = self.fma(self.lower(a), self.lower(b), sum);
            self.fma(self.upper(a), self.upper(b), sum)
        }
    }

    const OFFSET: u8 = 0;

    /// Without the extension: products in 16 bits, then neighbours added in 32, twice.
    #[inline(always)]
    fn dot_int8(self, a: uint32x4_t, b: uint32x4_t, sum: uint32x4_t) -> uint32x4_t {
        if EXTENSION == DOTPROD || EXTENSION == I8MM {
            op!(dot::int8(a, b, sum))
        } else {
            op!({
                let (a, b) = (vreinterpretq_s8_u32(a), vreinterpretq_s8_u32(b));
                let low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
                let high = vpaddlq_s16(vmull_high_s8(a, b));
                vaddq_u32(sum, vreinterpretq_u32_s32(vpaddq_s32(low, high)))
            })
        }
    }

    const TILES_INT8: bool = EXTENSION == I8MM;

    #[inline(always)]
    unsafe fn tile_int8<const ROWS: usize>(
        self,
        a: *const u32,
        a_stride: usize,
        b: *const u32,
        depth: usize,
        sums: &mut [[uint32x4_t; 2]; ROWS],
    ) {
        // SAFETY: a `Neon<I8MM>` proves that the processor has the instruction; the rest is the caller's promise.
        unsafe { i8mm::tile(a, a_stride, b, depth, sums) }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, n: usize, v: float32x4_t) {
        // SAFETY: `n` ≤ 4 numbers, for which the caller vouches.
        unsafe {
            let rounded = vget_lane_u64::<0>(vreinterpret_u64_u16(round::to_bf16(v))).to_le_bytes();
            std::ptr::copy_nonoverlapping(rounded.as_ptr(), to.cast(), 2 * n);
        }
    }

    #[inline(always)]
    unsafe fn store_int8(self, to: *mut u8, n: usize, v: float32x4_t, offset: u8) {
        // SAFETY: `n` ≤ 4 bytes, for which the caller vouches.
        unsafe {
            let words = vmovn_s32(vcvtnq_s32_f32(v));
            let bytes = vreinterpret_u8_s8(vmovn_s16(vcombine_s16(words, words)));
            let bytes = vget_lane_u32::<0>(vreinterpret_u32_u8(vadd_u8(bytes, vdup_n_u8(offset)))).to_le_bytes();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
        }
    }
}
