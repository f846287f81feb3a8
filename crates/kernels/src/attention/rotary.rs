//! Rotary position embedding (Su et al. 2021): queries and keys are turned by angles that grow with their positions, so that q·k
//! depends on how far apart they are.
//!
//! They are turned on their way into the panels and tiles that the micro-kernel reads, so it costs no pass over memory of its own.

use std::ops::Range;

use crate::output::Element;
use crate::simd::Simd;

/// The angles of every position and pair of places. In each head place i turns with place i + `pairs` ("rotate half"):
/// `(a, b)` becomes `(a·cos − b·sin, b·cos + a·sin)`. Places from 2 · `pairs` on stay as they are.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    /// Position after position, the cosines of its pairs' angles.
    pub cos: &'a [f32],
    /// The sines, likewise.
    pub sin: &'a [f32],
    /// How many pairs.
    pub pairs: usize,
}

impl Rotary<'_> {
    /// # Panics
    /// If heads are too small, or a text too long.
    pub(super) fn check(&self, dim: usize, texts: &[Range<usize>]) {
        assert!(2 * self.pairs <= dim, "attention: {} pairs in heads of {dim}", self.pairs);
        assert_eq!(self.cos.len(), self.sin.len(), "attention: cos and sin");
        let longest = texts.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        assert!(longest * self.pairs <= self.cos.len(), "attention: angles for a text of {longest}");
    }

    /// Turns one head's numbers of a row at that position of its text. Each product and each sum is rounded once, as in
    /// PyTorch; then the result, if its type is a smaller one.
    ///
    /// # Safety
    /// `dim` numbers can be read at `from` and written at `to`, which do not overlap. [`check`](Self::check) has passed for that
    /// `dim` and a text that has the position.
    #[inline(always)]
    pub(super) unsafe fn turn<S: Simd, N: Element>(
        &self,
        s: S,
        position: usize,
        dim: usize,
        from: *const N,
        to: *mut N,
    ) {
        let pairs = self.pairs;
        let angles = position * pairs..(position + 1) * pairs;
        let (cos, sin) = (self.cos[angles.clone()].as_ptr(), self.sin[angles].as_ptr());
        // SAFETY: loads and stores are of the lanes that lie within `pairs`, of which there are two in `dim`.
        unsafe {
            for i in (0..pairs).step_by(S::WIDTH) {
                let lanes = S::WIDTH.min(pairs - i);
                let (cos, sin) = (f32::load_first(s, cos.add(i), lanes), f32::load_first(s, sin.add(i), lanes));
                let (a, b) = (N::load_first(s, from.add(i), lanes), N::load_first(s, from.add(pairs + i), lanes));
                N::store_first(s, to.add(i), lanes, s.sub(s.mul(a, cos), s.mul(b, sin)));
                N::store_first(s, to.add(pairs + i), lanes, s.add(s.mul(b, cos), s.mul(a, sin)));
            }
            std::ptr::copy_nonoverlapping(from.add(2 * pairs), to.add(2 * pairs), dim - 2 * pairs);
        }
    }
}
