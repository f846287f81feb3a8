//! The multiply-add that broadcasts one factor itself. The compiler makes it of a broadcast that is used once, never of one that two
//! multiply-adds share.

use std::arch::asm;
use std::arch::x86_64::__m512;

/// `from[AT] · b + sum`.
///
/// # Safety
/// That float can be read.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn fma<const AT: usize>(from: *const f32, b: __m512, mut sum: __m512) -> __m512 {
    // SAFETY: it reads that float and changes nothing but the register.
    unsafe {
        asm!(
            "vfmadd231ps {sum}, {b}, dword ptr [{from} + {at}]{{1to16}}",
            sum = inout(zmm_reg) sum,
            b = in(zmm_reg) b,
            from = in(reg) from,
            at = const AT * size_of::<f32>(),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    sum
}
