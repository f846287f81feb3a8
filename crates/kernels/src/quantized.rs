//! Rows in int8: what a linear layer in int8 reads.

use crate::PackedInt8;
use crate::memory::AllocError;
use crate::simd::Simd;

/// Rows of inputs for one [`PackedInt8`] (or any that keeps the same channels in f32).
///
/// Each row has a scale of its own, 1/127 of its largest absolute value, and its numbers are stored as the nearest whole
/// multiples of that. The channels that the matrix keeps in f32 are left out and stand aside, as they are. A row that is not
/// finite has NaN for a scale, and so gives NaN.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    /// A row is `steps` words of four bytes, each with the instruction set's offset added; the last one filled up with anything.
    words: Vec<u32>,
    steps: usize,
    scales: Vec<f32>,
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
        resize(&mut self.words, rows.saturating_mul(self.steps))?;
        resize(&mut self.scales, rows)?;
        resize(&mut self.outliers, rows.saturating_mul(self.kept))
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
        let Self { words, scales, outliers, inp, kept, .. } = self;
        Int8Rows { words, scales, outliers, inp: *inp, kept: *kept }.part(rows)
    }

    pub(crate) fn parts(&mut self) -> (&mut [u32], &mut [f32], &mut [f32]) {
        (&mut self.words, &mut self.scales, &mut self.outliers)
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
            outliers: &self.outliers[rows.start * self.kept..rows.end * self.kept],
            ..self
        }
    }
}

fn resize<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> Result<(), AllocError> {
    let more = len.saturating_sub(buffer.len());
    buffer.try_reserve(more).map_err(|_| AllocError { bytes: len.saturating_mul(size_of::<T>()) })?;
    buffer.resize(len, T::default());
    Ok(())
}

/// Writes x as whole multiples of the scale that it returns, as bytes with `offset` added. `counts` is 1 for the numbers that
/// count and 0 for the others, which become 0.
///
/// Every step is exact or rounded once, so all instruction sets agree.
#[inline(always)]
pub(crate) fn quantize_row<S: Simd>(s: S, x: &[f32], counts: &[f32], offset: u8, to: &mut [u8]) -> f32 {
    assert!(x.len() == counts.len() && x.len() <= to.len());
    let len = x.len();
    let (x, counts, to) = (x.as_ptr(), counts.as_ptr(), to.as_mut_ptr());
    // Several at a time, since a single maximum would wait for each comparison.
    const MAXIMA: usize = 4;
    let mut largest = [s.splat(0.0); MAXIMA];
    // Becomes NaN with the first number that is not finite, and is 0 otherwise.
    let mut zero = s.splat(0.0);
    let whole = len / (MAXIMA * S::WIDTH) * MAXIMA * S::WIDTH;
    // SAFETY: all loads and stores are of the lanes that lie within `len`, in buffers that are as long.
    unsafe {
        for i in (0..whole).step_by(MAXIMA * S::WIDTH) {
            for (v, largest) in largest.iter_mut().enumerate() {
                let at = i + v * S::WIDTH;
                let x = s.mul(s.load(x.add(at)), s.load(counts.add(at)));
                *largest = s.max(*largest, s.abs(x));
                zero = s.fma(x, s.splat(0.0), zero);
            }
        }
        for i in (whole..len).step_by(S::WIDTH) {
            let lanes = S::WIDTH.min(len - i);
            let x = s.mul(s.load_first(x.add(i), lanes, 0.0), s.load_first(counts.add(i), lanes, 0.0));
            largest[0] = s.max(largest[0], s.abs(x));
            zero = s.fma(x, s.splat(0.0), zero);
        }
        let [a, b, c, d] = largest;
        let largest = s.largest(s.max(s.max(a, b), s.max(c, d)));
        // Of numbers so small that the quotient overflows, nothing is kept.
        let steps = if largest > 1e-30 { 127.0 / largest } else { 0.0 };
        // Rounding may take x · steps a little above 127, but not to 128.
        let steps = s.splat(steps);
        let whole = len / S::WIDTH * S::WIDTH;
        for i in (0..whole).step_by(S::WIDTH) {
            let x = s.mul(s.load(x.add(i)), s.load(counts.add(i)));
            s.store_int8(to.add(i), S::WIDTH, s.mul(x, steps), offset);
        }
        if whole < len {
            let rest = len - whole;
            let x = s.mul(s.load_first(x.add(whole), rest, 0.0), s.load_first(counts.add(whole), rest, 0.0));
            s.store_int8(to.add(whole), rest, s.mul(x, steps), offset);
        }
        let scale = if largest > 1e-30 { largest / 127.0 } else { 0.0 };
        scale + s.sum(zero)
    }
}
