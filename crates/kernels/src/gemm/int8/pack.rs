//! Weights in int8.

use super::product::Int8Product;
use crate::gemm::pack::{Encode, Panels, describe};
use crate::gemm::product::Product;
use crate::isa::PanelWidth;
use crate::memory::{Aligned, AllocError};
use crate::quantized::quantize_weights;
use crate::simd::{Simd, Work};
use crate::{Kernels, Solo};

/// A weight matrix `[out, in]` in int8, packed in panels for one instruction set.
///
/// Each output column has its own scale, 1/127 of its largest absolute weight. The weights of a few input channels, those
/// whose values would drown the others in a row's scale, are kept in f32.
pub struct PackedInt8 {
    pub(in crate::gemm) panels: Panels,
    pub(super) columns: Columns,
}

describe!(PackedInt8);

/// What belongs to the columns, each padded to whole panels.
pub(super) struct Columns {
    pub scales: Aligned,
    /// −1 · the sum of the column's weights: times a row's zero point, what its sums start at.
    pub starts: Aligned,
    /// The weights of the channels kept in f32, in panels.
    pub kept: Aligned,
    /// Which channels these are.
    pub outliers: Vec<usize>,
    /// For each input, 0 if it is one of them, or else 1.
    counts: Vec<f32>,
    offset: u8,
    pub panel: usize,
}

/// The longest sum that 32 bits hold for certain, of weights times inputs of which each is up to 254 levels from the zero point.
/// As the zero point is one of the same 255 levels, so are the sums that are not yet complete.
const LONGEST: usize = i32::MAX as usize / (254 * 127);

impl PackedInt8 {
    /// The most inputs that a matrix may have: sums of more might not fit into 32 bits.
    pub const MOST_INPUTS: usize = LONGEST;

    /// Rounds matrices `[out_i, in]`, row-major, to int8 and packs them side by side, as
    /// [`PackedMatrix::pack_side_by_side`](crate::PackedMatrix::pack_side_by_side) does. The input channels `outliers`, ascending,
    /// stay in f32.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    ///
    /// # Panics
    /// Unless each has `out_i` × `inp` elements, `inp` is at most [`MOST_INPUTS`](Self::MOST_INPUTS), and the outliers are inputs in ascending order.
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
        let mut encoders = [columns];
        let panels = Panels::pack(kernels, &Solo, weights, inp, &mut encoders)?;
        let [columns] = encoders;
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
        let scale = quantize_weights(s, weights, &self.counts, bytes);
        let sum: i32 = bytes.iter().map(|&byte| i32::from(byte as i8)).sum();
        self.scales.as_mut_slice()[column] = scale.to_bits();
        self.starts.as_mut_slice()[column] = -sum as u32;
        let first = column / self.panel * self.panel * self.outliers.len() + column % self.panel;
        let kept = self.kept.as_mut_slice();
        for (o, &k) in self.outliers.iter().enumerate() {
            kept[first + o * self.panel] = weights[k].to_bits();
        }
    }
}
