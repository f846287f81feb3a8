//! bf16: the upper half of an f32, with its range and 8 significant bits.

use crate::simd::Simd;

/// A number in bf16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The nearest one, ties to even. What is subnormal becomes 0, as the instructions of AVX512_BF16 have it; NaN stays NaN.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Self {
        const SIGN: u32 = 1 << 31;
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        let word = if x.is_nan() {
            bits | 1 << 22
        } else if bits & !SIGN < f32::MIN_POSITIVE.to_bits() {
            bits & SIGN
        } else {
            rounded
        };
        Bf16((word >> 16) as u16)
    }

    /// The same number.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Its 16 bits.
    pub fn to_bits(self) -> u16 {
        self.0
    }

    /// The number of these 16 bits.
    pub fn from_bits(bits: u16) -> Self {
        Bf16(bits)
    }
}

/// A word of 32 bits with two of them.
#[inline(always)]
pub(crate) fn pair(lower: Bf16, upper: Bf16) -> u32 {
    u32::from(lower.0) | u32::from(upper.0) << 16
}

/// Writes a row two numbers a word; what lacks in the last one is 0.
#[inline(always)]
pub(crate) fn pairs(from: &[Bf16], to: &mut [u32]) {
    let two = from.chunks_exact(2);
    if let ([last], Some(word)) = (two.remainder(), to.last_mut()) {
        *word = pair(*last, Bf16::default());
    }
    for (word, two) in to.iter_mut().zip(two) {
        *word = pair(two[0], two[1]);
    }
}

/// Rounds a row.
#[inline(always)]
pub(crate) fn round_row<S: Simd>(s: S, from: &[f32], to: &mut [Bf16]) {
    assert_eq!(from.len(), to.len());
    let mut i = 0;
    while i < from.len() {
        let lanes = S::WIDTH.min(from.len() - i);
        // SAFETY: `lanes` numbers follow i in both.
        unsafe { s.store_bf16(to.as_mut_ptr().add(i), lanes, s.load_first(from.as_ptr().add(i), lanes, 0.0)) };
        i += lanes;
    }
}
