//! Rows in int8: what a linear layer in int8 reads.

use crate::PackedInt8;
use crate::memory::{AllocError, LINE, to_line};
use crate::simd::Simd;

/// Rows of inputs for one [`PackedInt8`] (or any that keeps the same channels in f32).
///
/// Each row has 255 levels of its own, evenly from its smallest number to its largest (or 0, if that is beyond): a scale, 1/254
/// of the way, and a zero point, the level that is exactly 0. So numbers that lie mostly on one side of 0, as after a GELU,
/// use all levels. The channels that the matrix keeps in f32 are left out and stand aside, as they are. A row that is not
/// finite has NaN for a scale, and so gives NaN.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    /// A row is `steps` words of four bytes, each with the instruction set's offset added; the last one filled up with anything. They
    /// start on a cache line, after words that are nobody's.
    words: Vec<u32>,
    steps: usize,
    scales: Vec<f32>,
    /// The zero points, with the same offset.
    zeros: Vec<i32>,
    /// The values of the channels kept in f32, row by row.
    outliers: Vec<f32>,
    kept: usize,
    rows: usize,
    inp: usize,
}

/// Some of the rows of [`QuantizedRows`].
#[derive(Clone, Copy, Debug)]
pub struct Int8Rows<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) scales: &'a [f32],
    pub(crate) zeros: &'a [i32],
    pub(crate) outliers: &'a [f32],
    pub(crate) inp: usize,
    pub(crate) kept: usize,
}

impl QuantizedRows {
    /// Makes room for `rows` rows of inputs for `w`, of any value. What is there already is used again.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn prepare(&mut self, w: &PackedInt8, rows: usize) -> Result<(), AllocError> {
        (self.rows, self.inp, self.kept) = (rows, w.inputs(), w.outliers().len());
        self.steps = self.inp.div_ceil(4);
        lengthen(&mut self.words, rows.saturating_mul(self.steps).saturating_add(LINE))?;
        lengthen(&mut self.scales, rows)?;
        lengthen(&mut self.zeros, rows)?;
        lengthen(&mut self.outliers, rows.saturating_mul(self.kept))
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The length of a row.
    pub fn width(&self) -> usize {
        self.inp
    }

    /// These rows.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Int8Rows<'_> {
        let Self { words, scales, zeros, outliers, inp, kept, .. } = self;
        let words = &words[to_line(words)..];
        Int8Rows { words, scales, zeros, outliers, inp: *inp, kept: *kept }.part(rows)
    }

    pub(crate) fn parts(&mut self) -> (&mut [u32], &mut [f32], &mut [i32], &mut [f32]) {
        let start = to_line(&self.words);
        (&mut self.words[start..], &mut self.scales, &mut self.zeros, &mut self.outliers)
    }

    /// Whether it has room for that many rows for `w`.
    pub(crate) fn fits(&self, w: &PackedInt8, rows: usize) -> bool {
        (self.rows, self.inp, self.kept) == (rows, w.inputs(), w.outliers().len())
    }
}

impl Int8Rows<'_> {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Some of them.
    pub(crate) fn part(self, rows: std::ops::Range<usize>) -> Self {
        let steps = self.inp.div_ceil(4);
        Int8Rows {
            words: &self.words[rows.start * steps..rows.end * steps],
            scales: &self.scales[rows.clone()],
            zeros: &self.zeros[rows.clone()],
            outliers: &self.outliers[rows.start * self.kept..rows.end * self.kept],
            ..self
        }
    }
}

/// Makes it at least so long. It is never made shorter: what is there already would be filled again the next time.
fn lengthen<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> Result<(), AllocError> {
    let Some(more) = len.checked_sub(buffer.len()) else { return Ok(()) };
    buffer.try_reserve(more).map_err(|_| AllocError { bytes: len.saturating_mul(size_of::<T>()) })?;
    buffer.resize(len, T::default());
    Ok(())
}

/// What stands for a row's number n: `scale · (byte − zero)`.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    /// NaN if the row is not finite.
    pub scale: f32,
    /// The byte that stands for 0, as the product takes it: unsigned where `offset` is 128, signed where it is 0.
    pub zero: i32,
}

/// A range this narrow counts as none: the quotient would overflow.
const NARROWEST: f32 = 1e-30;

/// Writes x as bytes, by the nearest of 255 levels, evenly from its smallest number to its largest; 0 is always among them.
/// They are numbers within ±127 with `offset` (128 or 0) added. `counts` is 1 for the numbers that count and 0 for the
/// others, which become 0.
///
/// Every step is exact or rounded once, so all instruction sets agree.
#[inline(always)]
pub(crate) fn quantize_row<S: Simd>(s: S, x: &[f32], counts: &[f32], offset: u8, to: &mut [u8]) -> Code {
    let Range { low, high, zero } = Range::of(s, x, counts);
    // Half of everything, as the whole may overflow.
    let half = 0.5 * high - 0.5 * low;
    let (steps, scale) = if half > NARROWEST { (127.0 / half, half / 127.0) } else { (0.0, 0.0) };
    // Levels below 0. There are 254 − that many above, even if both ends round up.
    let below = (-low * steps).round_ties_even();
    let zero_byte = below as i32 - 127 + i32::from(offset);
    multiples(s, x, counts, steps, 254.0 - below, zero_byte as u8, to);
    Code { scale: scale + zero, zero: zero_byte }
}

/// Writes x as the nearest whole multiples, within ±127, of the scale that it returns. `counts` is as in [`quantize_row`].
#[inline(always)]
pub(crate) fn quantize_weights<S: Simd>(s: S, x: &[f32], counts: &[f32], to: &mut [u8]) -> f32 {
    let Range { low, high, zero } = Range::of(s, x, counts);
    let largest = high.max(-low);
    let (steps, scale) = if largest > NARROWEST { (127.0 / largest, largest / 127.0) } else { (0.0, 0.0) };
    multiples(s, x, counts, steps, 127.0, 0, to);
    scale + zero
}

/// Where the numbers of a row lie.
struct Range {
    /// At most 0.
    low: f32,
    /// At least 0.
    high: f32,
    /// 0 if all are finite, or else NaN.
    zero: f32,
}

impl Range {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: &[f32], counts: &[f32]) -> Self {
        assert!(x.len() == counts.len());
        let len = x.len();
        let (x, counts) = (x.as_ptr(), counts.as_ptr());
        // Several at a time, since a single one would wait for each step before.
        const CHAINS: usize = 4;
        let mut low = [s.splat(0.0); CHAINS];
        let mut high = [s.splat(0.0); CHAINS];
        let mut zero = [s.splat(0.0); CHAINS];
        let whole = len / (CHAINS * S::WIDTH) * CHAINS * S::WIDTH;
        // SAFETY: all loads are of the lanes that lie within `len`, in slices that are as long.
        unsafe {
            for i in (0..whole).step_by(CHAINS * S::WIDTH) {
                for v in 0..CHAINS {
                    let at = i + v * S::WIDTH;
                    let x = s.mul(s.load(x.add(at)), s.load(counts.add(at)));
                    low[v] = s.min(low[v], x);
                    high[v] = s.max(high[v], x);
                    zero[v] = s.fma(x, s.splat(0.0), zero[v]);
                }
            }
            for i in (whole..len).step_by(S::WIDTH) {
                let lanes = S::WIDTH.min(len - i);
                let x = s.mul(s.load_first(x.add(i), lanes, 0.0), s.load_first(counts.add(i), lanes, 0.0));
                low[0] = s.min(low[0], x);
                high[0] = s.max(high[0], x);
                zero[0] = s.fma(x, s.splat(0.0), zero[0]);
            }
        }
        let lowest = s.min(s.min(low[0], low[1]), s.min(low[2], low[3]));
        let highest = s.max(s.max(high[0], high[1]), s.max(high[2], high[3]));
        let zero = s.add(s.add(zero[0], zero[1]), s.add(zero[2], zero[3]));
        Range { low: -s.largest(s.sub(s.splat(0.0), lowest)), high: s.largest(highest), zero: s.sum(zero) }
    }
}

/// Writes x · `steps` rounded, at most `most`, with `offset` added.
#[inline(always)]
fn multiples<S: Simd>(s: S, x: &[f32], counts: &[f32], steps: f32, most: f32, offset: u8, to: &mut [u8]) {
    assert!(x.len() == counts.len() && x.len() <= to.len());
    let len = x.len();
    let (x, counts, to) = (x.as_ptr(), counts.as_ptr(), to.as_mut_ptr());
    let (steps, most) = (s.splat(steps), s.splat(most));
    let whole = len / S::WIDTH * S::WIDTH;
    // SAFETY: all loads and stores are of the lanes that lie within `len`, in slices that are as long.
    unsafe {
        for i in (0..whole).step_by(S::WIDTH) {
            let x = s.mul(s.load(x.add(i)), s.load(counts.add(i)));
            s.store_int8(to.add(i), S::WIDTH, s.min(most, s.mul(x, steps)), offset);
        }
        if whole < len {
            let rest = len - whole;
            let x = s.mul(s.load_first(x.add(whole), rest, 0.0), s.load_first(counts.add(whole), rest, 0.0));
            s.store_int8(to.add(whole), rest, s.min(most, s.mul(x, steps)), offset);
        }
    }
}
