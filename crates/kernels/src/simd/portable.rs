//! The meaning of every vector operation, in plain Rust. Runs everywhere; the compiler makes of it what it can.

use super::{Simd, Work};

/// Four lanes: what every 64-bit processor has registers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portable;

type Lanes = [f32; 4];

#[inline(always)]
fn each(a: Lanes, f: impl Fn(f32) -> f32) -> Lanes {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn pairs(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

/// 2ⁿ for a normal result.
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

impl Simd for Portable {
    type V = Lanes;
    type I = [u32; 4];
    const WIDTH: usize = 4;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn vectorize<W: Work>(self, work: W) -> W::Output {
        work.run(self)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Lanes {
        // SAFETY: the caller vouches for four readable floats.
        unsafe { from.cast::<Lanes>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Lanes) {
        // SAFETY: the caller vouches for four writable floats.
        unsafe { to.cast::<Lanes>().write(v) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; 4]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        pairs(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        pairs(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        pairs(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        pairs(a, b, |a, b| a / b)
    }

    /// Not `f32::mul_add`: that is a call into the C library where the processor has no such instruction.
    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        pairs(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        pairs(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn abs(self, a: Lanes) -> Lanes {
        each(a, f32::abs)
    }

    #[inline(always)]
    fn with_sign(self, size: Lanes, sign: Lanes) -> Lanes {
        pairs(size, sign, f32::copysign)
    }

    #[inline(always)]
    fn if_less(self, a: Lanes, b: Lanes, yes: Lanes, no: Lanes) -> Lanes {
        std::array::from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }

    /// In two steps, as 2ⁿ itself may be no normal number where the result is one.
    #[inline(always)]
    fn scale(self, a: Lanes, n: Lanes) -> Lanes {
        pairs(a, n, |a, n| {
            let n = n as i32;
            let half = n >> 1;
            a * power_of_two(half) * power_of_two(n - half)
        })
    }

    #[inline(always)]
    fn sum(self, v: Lanes) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }

    #[inline(always)]
    fn largest(self, v: Lanes) -> f32 {
        v[0].max(v[2]).max(v[1].max(v[3]))
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> [u32; 4] {
        // SAFETY: the caller vouches for four readable words.
        unsafe { from.cast::<[u32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> [u32; 4] {
        [word; 4]
    }

    #[inline(always)]
    fn add_words(self, a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }

    #[inline(always)]
    fn mul_words(self, a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        std::array::from_fn(|lane| a[lane].wrapping_mul(b[lane]))
    }

    #[inline(always)]
    fn to_floats(self, words: [u32; 4]) -> Lanes {
        words.map(|word| word as i32 as f32)
    }

    #[inline(always)]
    fn lower(self, words: [u32; 4]) -> Lanes {
        words.map(|word| f32::from_bits(word << 16))
    }

    #[inline(always)]
    fn upper(self, words: [u32; 4]) -> Lanes {
        words.map(|word| f32::from_bits(word & 0xffff_0000))
    }

    const OFFSET: u8 = 0;

    #[inline(always)]
    fn dot_int8(self, a: [u32; 4], b: [u32; 4], sum: [u32; 4]) -> [u32; 4] {
        std::array::from_fn(|lane| {
            let (a, b) = (a[lane].to_le_bytes(), b[lane].to_le_bytes());
            let products = (0..4).map(|i| i32::from(a[i] as i8) * i32::from(b[i] as i8));
            (sum[lane] as i32 + products.sum::<i32>()) as u32
        })
    }
}
