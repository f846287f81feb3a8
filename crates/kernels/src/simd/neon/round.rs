//! Rounding to bf16. Not BFCVT, which keeps what is subnormal.

use std::arch::aarch64::*;

/// As [`Bf16::from_f32`](crate::Bf16::from_f32).
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
pub(super) unsafe fn to_bf16(v: float32x4_t) -> uint16x4_t {
    // SAFETY: the caller's promise; only computes.
    unsafe {
        let bits = vreinterpretq_u32_f32(v);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
        let subnormal = vcaltq_f32(v, vdupq_n_f32(f32::MIN_POSITIVE));
        let rounded = vbslq_u32(subnormal, vandq_u32(bits, vdupq_n_u32(1 << 31)), rounded);
        let number = vceqq_f32(v, v);
        let rounded = vbslq_u32(number, rounded, vorrq_u32(bits, vdupq_n_u32(1 << 22)));
        vshrn_n_u32::<16>(rounded)
    }
}
