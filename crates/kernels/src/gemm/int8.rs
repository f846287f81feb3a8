//! The linear layer in int8, with a few channels kept in f32.

use super::block::Operands;
use super::pack::{Encode, Panels, describe};
use super::product::{Product, Start};
use super::{Epilogue, multiply, rows};
use crate::convert::{Target, convert_rows};
use crate::isa::PanelWidth;
use crate::memory::{Aligned, AllocError, with_scratch};
use crate::quantized::{Int8Rows, quantize_row};
use crate::simd::{Simd, Work};
use crate::team::piece;
use crate::{Converted, Kernels, Output, QuantizedRows, Solo, Team, team};

/// A weight matrix `[out, in]` in int8, packed in panels for one instruction set.
///
/// Each output column has its own scale, 1/127 of its largest absolute weight. The weights of a few input channels, those
/// whose values would drown the others in a row's scale, are kept in f32.
pub struct PackedInt8 {
    pub(super) panels: Panels,
    columns: Columns,
}

describe!(PackedInt8);

/// What belongs to the columns, each padded to whole panels.
struct Columns {
    scales: Aligned,
    /// What takes back the offset of the inputs: −offset · the sum of the column's weights.
    starts: Aligned,
    /// The weights of the channels kept in f32, in panels.
    kept: Aligned,
    /// Which channels these are.
    outliers: Vec<usize>,
    /// For each input, 0 if it is one of them, or else 1.
    counts: Vec<f32>,
    offset: u8,
    panel: usize,
}

/// Results in f32 on their way to int8, in numbers: 512 KiB, half of a 1 MiB L2.
const INNER: usize = 128 << 10;
/// Rows that are worth reading all weights for.
const TOGETHER: usize = 12;

/// The longest sum of products of int8 that 32 bits hold for certain.
const LONGEST: usize = i32::MAX as usize / (127 * 127);

impl PackedInt8 {
    /// Rounds matrices `[out_i, in]`, row-major, to int8 and packs them side by side, as
    /// [`PackedMatrix::pack_side_by_side`](super::PackedMatrix::pack_side_by_side) does. The input channels `outliers`, ascending,
    /// stay in f32.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    ///
    /// # Panics
    /// Unless each has `out_i` × `inp` elements, `inp` is at most 133,000, and the outliers are inputs in ascending order.
    pub fn pack_side_by_side(
        kernels: Kernels,
        weights: &[(&[f32], usize)],
        inp: usize,
        outliers: &[usize],
    ) -> Result<Self, AllocError> {
        assert!(inp <= LONGEST, "pack: rows of {inp} are too long for int8");
        assert!(outliers.is_sorted_by(|a, b| a < b), "pack: outliers {outliers:?}");
        let mut counts = vec![1.0; inp];
        outliers.iter().for_each(|&k| counts[k] = 0.0);
        let panel = Int8Product::vectorize(kernels, PanelWidth);
        let out: usize = weights.iter().map(|(_, out)| out).sum();
        let padded = out.next_multiple_of(panel);
        let columns = Columns {
            scales: Aligned::try_zeroed(padded)?,
            starts: Aligned::try_zeroed(padded)?,
            kept: Aligned::try_zeroed(padded * outliers.len())?,
            outliers: outliers.to_vec(),
            counts,
            offset: Int8Product::vectorize(kernels, Offset),
            panel,
        };
        let (panels, columns) = Panels::pack(kernels, weights, inp, columns)?;
        Ok(Self { panels, columns })
    }

    /// The input channels that are kept in f32.
    pub fn outliers(&self) -> &[usize] {
        &self.columns.outliers
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        let Columns { scales, starts, kept, counts, .. } = &self.columns;
        self.panels.words.bytes() + scales.bytes() + starts.bytes() + kept.bytes() + size_of_val(&counts[..])
    }

    pub(crate) fn counts(&self) -> &[f32] {
        &self.columns.counts
    }

    pub(crate) fn offset(&self) -> u8 {
        self.columns.offset
    }
}

/// What this instruction set adds to inputs.
struct Offset;

impl Work for Offset {
    type Output = u8;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u8 {
        S::OFFSET
    }
}

impl Encode for Columns {
    type Product = Int8Product;

    #[inline(always)]
    fn column<S: Simd>(&mut self, s: S, column: usize, weights: &[f32], words: &mut [u32]) {
        if let Some(last) = words.last_mut() {
            *last = 0;
        }
        // SAFETY: words are four bytes each, of any value.
        let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), size_of_val(words)) };
        let scale = quantize_row(s, weights, &self.counts, 0, bytes);
        let sum: i32 = bytes.iter().map(|&byte| i32::from(byte as i8)).sum();
        self.scales.as_mut_slice()[column] = scale.to_bits();
        self.starts.as_mut_slice()[column] = (-i32::from(self.offset) * sum) as u32;
        let first = column / self.panel * self.panel * self.outliers.len() + column % self.panel;
        let kept = self.kept.as_mut_slice();
        for (o, &k) in self.outliers.iter().enumerate() {
            kept[first + o * self.panel] = weights[k].to_bits();
        }
    }
}

impl Kernels {
    /// [`linear`](Self::linear) with x and W in int8. Products are added up exactly, in 32 bits; then, in f32,
    /// `activation(bias + sum · scale of row · scale of column + Σ x · W of the channels kept) + residual`.
    ///
    /// # Panics
    /// As [`linear`](Self::linear), or if x was not quantized for `w`.
    pub fn linear_int8<'a>(
        self,
        team: &dyn Team,
        x: Int8Rows<'_>,
        w: &PackedInt8,
        epilogue: Epilogue<'_>,
        out: impl Into<Output<'a>>,
    ) {
        let out = out.into();
        let rows = rows(self, &w.panels, out.len());
        assert_eq!((x.inp, x.kept), (w.inputs(), w.outliers().len()), "linear: x quantized for another matrix");
        assert_eq!(x.len(), rows, "linear: rows of x");
        match out {
            Output::F32(out) => multiply(team, Int8Operands { x, w }, rows, epilogue, out),
            Output::Bf16(out) => multiply(team, Int8Operands { x, w }, rows, epilogue, out),
        }
    }
}

impl Kernels {
    /// [`linear_int8`](Self::linear_int8) followed by [`convert`](Self::convert) for the matrix `next`: the same bits, but the
    /// results in f32 exist only for a few rows at a time, in the cache.
    ///
    /// # Panics
    /// As both.
    pub fn linear_int8_quantized(
        self,
        team: &dyn Team,
        x: Int8Rows<'_>,
        w: &PackedInt8,
        epilogue: Epilogue<'_>,
        next: &PackedInt8,
        to: &mut QuantizedRows,
    ) {
        let (rows, width) = (x.len(), w.outputs());
        assert_eq!(width, next.inputs(), "linear: results as wide as the next layer's inputs");
        assert!(epilogue.residual.is_none(), "linear: no residual before quantization");
        let threads = team.threads().max(1);
        if rows < 2 * TOGETHER * threads && threads > 1 {
            // Too few for each thread to have rows of its own: columns are split.
            return with_scratch(rows * width, |scratch| {
                self.linear_int8(team, x, w, epilogue, &mut *scratch);
                self.convert(team, scratch, width, Converted::Int8(next, to));
            });
        }
        let most_rows = (INNER / width.max(1)).max(TOGETHER);
        let pieces = rows.div_ceil(most_rows).next_multiple_of(threads);
        let to = Target::new(self, Converted::Int8(next, to), rows * width);
        team::run(team, pieces, |task| {
            let part = piece(rows, pieces, task);
            with_scratch(part.len() * width, |scratch| {
                self.linear_int8(&Solo, x.part(part.clone()), w, epilogue, &mut *scratch);
                convert_rows(self, scratch, width, part.start, to);
            });
        });
    }
}

#[derive(Clone, Copy)]
struct Int8Operands<'a> {
    x: Int8Rows<'a>,
    w: &'a PackedInt8,
}

impl Operands for Int8Operands<'_> {
    type Product = Int8Product;
    const ROUGH: bool = true;
    const RESUMES: bool = false;

    #[inline(always)]
    fn panels(&self) -> &Panels {
        &self.w.panels
    }

    #[inline(always)]
    fn row(&self, row: usize) -> *const u32 {
        self.x.words.as_ptr().wrapping_add(row * self.w.panels.steps)
    }

    #[inline(always)]
    fn product(&self, row: usize, panel: usize, bias: Start) -> Int8Product {
        let Columns { scales, starts, kept, outliers, panel: width, .. } = &self.w.columns;
        let column = panel * width;
        Int8Product {
            starts: starts.as_ptr().wrapping_add(column),
            scales: scales.as_ptr().cast::<f32>().wrapping_add(column),
            bias: bias.at,
            row_scales: self.x.scales.as_ptr().wrapping_add(row),
            x: self.x.outliers.as_ptr().wrapping_add(row * outliers.len()),
            kept: kept.as_ptr().cast::<f32>().wrapping_add(column * outliers.len()),
            outliers: outliers.len(),
        }
    }
}

/// int8 times int8, four in a word, added up in whole numbers of 32 bits; then in f32 the scales, the bias and the channels
/// kept in f32.
#[derive(Clone, Copy)]
pub(crate) struct Int8Product {
    /// `PANEL` words.
    starts: *const u32,
    /// `PANEL` floats.
    scales: *const f32,
    /// `PANEL` floats.
    bias: *const f32,
    /// One for each row of the tile.
    row_scales: *const f32,
    /// The kept channels: `outliers` for each row of the tile.
    x: *const f32,
    /// Their weights, `PANEL` for each.
    kept: *const f32,
    outliers: usize,
}

impl Product for Int8Product {
    type Word = u32;
    const NUMBERS: usize = 4;
    type Factor<S: Simd> = S::I;
    type Sum<S: Simd> = S::I;

    fn vectorize<W: Work>(kernels: Kernels, work: W) -> W::Output {
        kernels.vectorize_int8(work)
    }

    #[inline(always)]
    unsafe fn broadcast<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: the caller's promise.
        s.splat_word(unsafe { from.read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: the caller's promise.
        unsafe { s.load_words(from) }
    }

    #[inline(always)]
    fn add<S: Simd>(s: S, a: S::I, b: S::I, sum: S::I) -> S::I {
        s.dot_int8(a, b, sum)
    }

    #[inline(always)]
    unsafe fn start<S: Simd>(self, s: S, _: usize, half: usize) -> S::I {
        // SAFETY: a panel of words.
        unsafe { s.load_words(self.starts.add(half * S::WIDTH)) }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const ROWS: usize>(self, s: S, sums: [[S::I; 2]; ROWS]) -> [[S::V; 2]; ROWS] {
        let mut results = [[s.splat(0.0); 2]; ROWS];
        // SAFETY: `PANEL`, two vectors, of floats in each array that belongs to columns; the caller vouches for the rows.
        unsafe {
            for half in 0..2 {
                let scale = s.load(self.scales.add(half * S::WIDTH));
                let bias = s.load(self.bias.add(half * S::WIDTH));
                for r in 0..ROWS {
                    let sum = s.mul(s.to_floats(sums[r][half]), s.splat(*self.row_scales.add(r)));
                    results[r][half] = s.fma(sum, scale, bias);
                }
            }
            for o in 0..self.outliers {
                let left = s.load(self.kept.add(o * S::PANEL));
                let right = s.load(self.kept.add(o * S::PANEL + S::WIDTH));
                for (r, result) in results.iter_mut().enumerate() {
                    let x = s.splat(*self.x.add(r * self.outliers + o));
                    result[0] = s.fma(x, left, result[0]);
                    result[1] = s.fma(x, right, result[1]);
                }
            }
        }
        results
    }
}
