//! A 16 × 16 transposition in registers.

use std::arch::x86_64::*;

/// Transposes 16 × 16 words, as [`Simd::transpose`](crate::simd::Simd::transpose) says.
///
/// Two rounds exchange numbers within quarters of a register, two more the quarters themselves.
///
/// # Safety
/// As there; and the processor has AVX-512F.
#[inline(always)]
pub(super) unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: 16 floats in each of 16 rows, on both sides, by the caller's promise; the rest only computes.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); 16];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(from.add(r * from_stride));
        }
        // Quarter q of quads[4b + c] is column 4q + c of rows 4b..4b + 4.
        let mut quads = rows;
        for b in (0..16).step_by(4) {
            let low = _mm512_unpacklo_ps(rows[b], rows[b + 1]);
            let high = _mm512_unpackhi_ps(rows[b], rows[b + 1]);
            let low2 = _mm512_unpacklo_ps(rows[b + 2], rows[b + 3]);
            let high2 = _mm512_unpackhi_ps(rows[b + 2], rows[b + 3]);
            quads[b] = _mm512_shuffle_ps::<0b01_00_01_00>(low, low2);
            quads[b + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(low, low2);
            quads[b + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(high, high2);
            quads[b + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(high, high2);
        }
        for c in 0..4 {
            // Even and odd quarters of the upper and lower eight rows.
            let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(quads[c], quads[4 + c]);
            let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(quads[c], quads[4 + c]);
            let even2 = _mm512_shuffle_f32x4::<0b10_00_10_00>(quads[8 + c], quads[12 + c]);
            let odd2 = _mm512_shuffle_f32x4::<0b11_01_11_01>(quads[8 + c], quads[12 + c]);
            let columns = [
                _mm512_shuffle_f32x4::<0b10_00_10_00>(even, even2),
                _mm512_shuffle_f32x4::<0b10_00_10_00>(odd, odd2),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(even, even2),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(odd, odd2),
            ];
            for (quarter, column) in columns.into_iter().enumerate() {
                _mm512_storeu_ps(to.add((4 * quarter + c) * to_stride), column);
            }
        }
    }
}
