//! Rounding to bf16 where there is no instruction for it.

use std::arch::x86_64::*;

/// As [`Bf16::from_f32`](crate::Bf16::from_f32).
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
pub(super) unsafe fn to_bf16(v: __m512) -> __m256i {
    // SAFETY: the caller's promise; only computes.
    unsafe {
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        let subnormal = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(v), _mm512_set1_ps(f32::MIN_POSITIVE));
        let sign = _mm512_set1_epi32(i32::MIN);
        let rounded = _mm512_mask_and_epi32(rounded, subnormal, bits, sign);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(1 << 22));
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
    }
}
