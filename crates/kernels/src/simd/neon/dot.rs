//! Instructions that `std::arch` does not have on stable Rust yet. In assembly, one instruction each: which registers they use is
//! left to the compiler.

use std::arch::aarch64::*;
use std::arch::asm;

/// SDOT: `sum + a₀·b₀ + a₁·b₁ + a₂·b₂ + a₃·b₃` of the int8 in each word.
///
/// # Safety
/// The processor has the dot product extension (FEAT_DotProd), and the caller is compiled for it.
#[inline(always)]
pub(super) unsafe fn int8(a: uint32x4_t, b: uint32x4_t, mut sum: uint32x4_t) -> uint32x4_t {
    // SAFETY: only computes; the caller vouches for the instruction.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// BFDOT: `sum + a₀·b₀ + a₁·b₁` of the bf16 in each word.
///
/// # Safety
/// The processor has the bf16 extension (FEAT_BF16), and the caller is compiled for it.
#[inline(always)]
pub(super) unsafe fn bf16(a: uint32x4_t, b: uint32x4_t, mut sum: float32x4_t) -> float32x4_t {
    // SAFETY: only computes; the caller vouches for the instruction.
    unsafe {
        asm!(
            "bfdot {sum:v}.4s, {a:v}.8h, {b:v}.8h",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
