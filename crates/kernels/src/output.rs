//! Results in f32 or in bf16.

use crate::Bf16;
use crate::simd::Simd;

/// Where results go, and as what.
#[derive(Debug)]
pub enum Output<'a> {
    /// As they are.
    F32(&'a mut [f32]),
    /// Rounded to bf16.
    Bf16(&'a mut [Bf16]),
}

impl<'a> From<&'a mut [f32]> for Output<'a> {
    fn from(out: &'a mut [f32]) -> Self {
        Output::F32(out)
    }
}

impl<'a> From<&'a mut [Bf16]> for Output<'a> {
    fn from(out: &'a mut [Bf16]) -> Self {
        Output::Bf16(out)
    }
}

impl Output<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Output::F32(out) => out.len(),
            Output::Bf16(out) => out.len(),
        }
    }
}

/// A number in memory that vectors of f32 are stored as.
pub(crate) trait Element: Copy + Send + 'static {
    /// Whether it holds an f32 exactly.
    const EXACT: bool;

    /// The same place, if it holds floats.
    fn floats(at: *mut Self) -> Option<*mut f32>;

    /// # Safety
    /// `n` numbers can be read at `from`, at most a vector of them.
    unsafe fn load_first<S: Simd>(s: S, from: *const Self, n: usize) -> S::V;

    /// # Safety
    /// `n` numbers can be written at `to`, at most a vector of them.
    unsafe fn store_first<S: Simd>(s: S, to: *mut Self, n: usize, v: S::V);
}

impl Element for f32 {
    const EXACT: bool = true;

    #[inline(always)]
    fn floats(at: *mut f32) -> Option<*mut f32> {
        Some(at)
    }

    #[inline(always)]
    unsafe fn load_first<S: Simd>(s: S, from: *const f32, n: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { if n == S::WIDTH { s.load(from) } else { s.load_first(from, n, 0.0) } }
    }

    #[inline(always)]
    unsafe fn store_first<S: Simd>(s: S, to: *mut f32, n: usize, v: S::V) {
        // SAFETY: the caller's promise.
        unsafe {
            if n == S::WIDTH {
                s.store(to, v);
            } else {
                s.store_first(to, n, v);
            }
        }
    }
}

impl Element for Bf16 {
    const EXACT: bool = false;

    #[inline(always)]
    fn floats(_: *mut Bf16) -> Option<*mut f32> {
        None
    }

    #[inline(always)]
    unsafe fn load_first<S: Simd>(s: S, from: *const Bf16, n: usize) -> S::V {
        let mut lanes = [0.0; crate::simd::WIDEST];
        // SAFETY: the caller's promise; a vector is at most the widest.
        unsafe {
            // Apart, since a loop whose length the compiler knows becomes vector instructions.
            if n == S::WIDTH {
                for (i, lane) in lanes[..S::WIDTH].iter_mut().enumerate() {
                    *lane = (*from.add(i)).to_f32();
                }
            } else {
                for (i, lane) in lanes[..n].iter_mut().enumerate() {
                    *lane = (*from.add(i)).to_f32();
                }
            }
            s.load(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_first<S: Simd>(s: S, to: *mut Bf16, n: usize, v: S::V) {
        // SAFETY: the caller's promise.
        unsafe { s.store_bf16(to, n, v) }
    }
}
