//! Layer normalization.

use crate::Kernels;
use crate::convert::{Converted, Target};
use crate::memory::with_scratch;
use crate::simd::{Simd, Work};
use crate::team::{LEAST_ROWS, Shared, Team, run_rows};

impl Kernels {
    /// Each row of `out` becomes (x − mean)/√(variance + eps) · weight + bias of that row of `x`: `torch.nn.LayerNorm`.
    ///
    /// The variance is the biased one (divided by the row's length), of the differences to the mean (two passes).
    ///
    /// # Panics
    /// Unless `out` is as long as `x`, a multiple of the row's length `weight.len()`, and `bias` as long as `weight`.
    pub fn layer_norm(
        self,
        team: &dyn Team,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
        out: &mut [f32],
    ) {
        assert_eq!(x.len(), out.len(), "layer_norm: x and out");
        let norm = Norm { weight, bias, eps };
        norm.rows(self, team, Some(x), out, None);
    }

    /// [`layer_norm`](Self::layer_norm) of `x` into itself; the same bits.
    ///
    /// # Panics
    /// As [`layer_norm`](Self::layer_norm).
    pub fn layer_norm_in_place(self, team: &dyn Team, x: &mut [f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
        let norm = Norm { weight, bias, eps };
        norm.rows(self, team, None, x, None);
    }

    /// [`layer_norm_in_place`](Self::layer_norm_in_place), which also writes its result as the next linear layer wants it, row
    /// by row while that is in the nearest cache: the same as [`convert`](Self::convert) afterwards.
    ///
    /// # Panics
    /// As both.
    pub fn layer_norm_converting(
        self,
        team: &dyn Team,
        x: &mut [f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
        to: Converted<'_>,
    ) {
        let norm = Norm { weight, bias, eps };
        let to = Target::new(self, to, x.len());
        norm.rows(self, team, None, x, Some(to));
    }

    /// [`layer_norm`](Self::layer_norm) whose result is wanted in the next linear layer's form only.
    ///
    /// # Panics
    /// As [`layer_norm`](Self::layer_norm) and [`convert`](Self::convert).
    pub fn layer_norm_converted(
        self,
        team: &dyn Team,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
        to: Converted<'_>,
    ) {
        let norm = Norm { weight, bias, eps };
        let to = Target::new(self, to, x.len());
        let Some(rows) = norm.count(x.len()) else { return };
        let width = weight.len();
        run_rows(team, rows, LEAST_ROWS, |part| {
            // One row of the result exists at a time, in the nearest cache.
            with_scratch(width, |out| {
                for row in part {
                    let from = Some(&x[row * width..(row + 1) * width]);
                    self.vectorize_bf16(NormRows { norm, from, out: &mut *out, first: row, to: Some(to) });
                }
            });
        });
    }
}

#[derive(Clone, Copy)]
struct Norm<'a> {
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    eps: f32,
}

impl Norm<'_> {
    /// How many rows are in that many numbers, if any.
    fn count(&self, len: usize) -> Option<usize> {
        let width = self.weight.len();
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), width, "layer_norm: bias and weight");
        }
        if len == 0 {
            return None;
        }
        assert!(width > 0 && len.is_multiple_of(width), "layer_norm: rows of {width} in {len}");
        Some(len / width)
    }

    /// `from` is where the rows come from, or none if that is `out` itself; `to` where they go beside `out`.
    fn rows(self, kernels: Kernels, team: &dyn Team, from: Option<&[f32]>, out: &mut [f32], to: Option<Target<'_>>) {
        let Some(rows) = self.count(out.len()) else { return };
        let width = self.weight.len();
        let out = Shared::new(out);
        run_rows(team, rows, LEAST_ROWS, |part| {
            let first = part.start;
            let part = part.start * width..part.end * width;
            let from = from.map(|x| &x[part.clone()]);
            // SAFETY: pieces do not overlap.
            let out = unsafe { out.part(part) };
            let work = NormRows { norm: self, from, out, first, to };
            kernels.vectorize_bf16(work);
        });
    }
}

struct NormRows<'a> {
    norm: Norm<'a>,
    from: Option<&'a [f32]>,
    out: &'a mut [f32],
    /// Which row is the first.
    first: usize,
    to: Option<Target<'a>>,
}

impl Work for NormRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.weight.len();
        for (i, start) in (0..self.out.len()).step_by(width).enumerate() {
            let out = self.out[start..start + width].as_mut_ptr();
            let x = match self.from {
                Some(from) => from[start..start + width].as_ptr(),
                None => out.cast_const(),
            };
            // SAFETY: both are rows of `width` floats; an element is read before it is written.
            unsafe { norm_row(s, self.norm, x, out) };
            if let Some(to) = self.to {
                // SAFETY: rows do not overlap, and this task has this one.
                unsafe { to.row(s, self.first + i, &self.out[start..start + width]) };
            }
        }
    }
}

/// # Safety
/// `x` can be read and `out` written for `weight.len()` floats; they are the same or do not overlap.
#[inline(always)]
unsafe fn norm_row<S: Simd>(s: S, norm: Norm<'_>, x: *const f32, out: *mut f32) {
    let width = norm.weight.len();
    let weight = norm.weight.as_ptr();
    // SAFETY: reads of x, weight and bias and writes of out stay within `width`, and `step` says how many lanes do.
    unsafe {
        let zero = s.splat(0.0);
        let mean = sum(s, x, width, zero, false) / width as f32;
        let variance = sum(s, x, width, s.splat(mean), true) / width as f32;
        let (mean, scale) = (s.splat(mean), s.splat(1.0 / (variance + norm.eps).sqrt()));

        let whole = width / S::WIDTH * S::WIDTH;
        for i in (0..whole).step_by(S::WIDTH) {
            let y = s.mul(s.sub(s.load(x.add(i)), mean), scale);
            let y = match norm.bias {
                Some(bias) => s.fma(y, s.load(weight.add(i)), s.load(bias.as_ptr().add(i))),
                None => s.mul(y, s.load(weight.add(i))),
            };
            s.store(out.add(i), y);
        }
        let rest = width - whole;
        if rest > 0 {
            let y = s.mul(s.sub(s.load_first(x.add(whole), rest, 0.0), mean), scale);
            let weight = s.load_first(weight.add(whole), rest, 0.0);
            let y = match norm.bias {
                Some(bias) => s.fma(y, weight, s.load_first(bias.as_ptr().add(whole), rest, 0.0)),
                None => s.mul(y, weight),
            };
            s.store_first(out.add(whole), rest, y);
        }
    }
}

/// The sum of the differences to `center`, or of their squares. Four running sums, since a single one would wait for each
/// addition; the order is the same for every row of this length.
///
/// # Safety
/// `len` floats can be read at `x`.
#[inline(always)]
unsafe fn sum<S: Simd>(s: S, x: *const f32, len: usize, center: S::V, squared: bool) -> f32 {
    const SUMS: usize = 4;
    let mut sums = [s.splat(0.0); SUMS];
    let mut i = 0;
    // SAFETY: each load is of the lanes that lie within `len`; the others are filled so that they add nothing.
    unsafe {
        while i + SUMS * S::WIDTH <= len {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = add(s, *sum, s.sub(s.load(x.add(i + k * S::WIDTH)), center), squared);
            }
            i += SUMS * S::WIDTH;
        }
        while i + S::WIDTH <= len {
            sums[0] = add(s, sums[0], s.sub(s.load(x.add(i)), center), squared);
            i += S::WIDTH;
        }
        if i < len {
            let lanes = s.load_first(x.add(i), len - i, 0.0);
            let inside = s.load_first([1.0; crate::simd::WIDEST].as_ptr(), len - i, 0.0);
            let difference = s.mul(s.sub(lanes, center), inside);
            sums[1] = add(s, sums[1], difference, squared);
        }
    }
    let [a, b, c, d] = sums;
    s.sum(s.add(s.add(a, b), s.add(c, d)))
}

#[inline(always)]
fn add<S: Simd>(s: S, sum: S::V, difference: S::V, squared: bool) -> S::V {
    if squared { s.fma(difference, difference, sum) } else { s.add(sum, difference) }
}
