//! Weights, rearranged once at load into the order in which the micro-kernel reads them.

use crate::Kernels;
use crate::memory::{Aligned, AllocError};
use crate::simd::{Simd, Work};

/// A weight matrix `[out, in]`, packed in panels for one instruction set.
///
/// A panel is a strip of output columns (32 for AVX-512: two vectors), stored k by k: for each of the `in` inputs, the
/// weights that lead from it to these columns, side by side. The micro-kernel reads a panel from front to back, one
/// cache line after the other. Columns that the last panel lacks are zeros.
pub struct PackedMatrix {
    pub(super) kernels: Kernels,
    pub(super) inp: usize,
    pub(super) out: usize,
    pub(super) panels: Aligned,
}

impl PackedMatrix {
    /// Packs a `[out, in]` matrix, row-major, as `torch.nn.Linear` stores it.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for another copy of it.
    ///
    /// # Panics
    /// Unless `weight` has `out` × `inp` elements.
    pub fn pack(kernels: Kernels, weight: &[f32], out: usize, inp: usize) -> Result<Self, AllocError> {
        Self::pack_side_by_side(kernels, &[(weight, out)], inp)
    }

    /// Packs several matrices `[out_i, in]` as if their rows were one matrix `[out_0 + out_1 + …, in]`: one product then
    /// gives all their results side by side (queries, keys and values, say).
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for another copy of them.
    ///
    /// # Panics
    /// Unless each has `out_i` × `inp` elements.
    pub fn pack_side_by_side(kernels: Kernels, weights: &[(&[f32], usize)], inp: usize) -> Result<Self, AllocError> {
        let panel = kernels.panel();
        let out: usize = weights.iter().map(|(_, out)| out).sum();
        let len = out.div_ceil(panel).checked_mul(panel).and_then(|columns| columns.checked_mul(inp));
        let mut panels = Aligned::try_zeroed(len.ok_or(AllocError { bytes: usize::MAX })?)?;
        let mut first = 0;
        for &(weight, out) in weights {
            assert_eq!(weight.len(), out * inp, "pack: weight of {out} × {inp}");
            kernels.vectorize(Pack { weight, inp, first, panels: panels.as_mut_slice() });
            first += out;
        }
        Ok(PackedMatrix { kernels, inp, out, panels })
    }

    /// The length of an input row.
    pub fn inputs(&self) -> usize {
        self.inp
    }

    /// The length of an output row.
    pub fn outputs(&self) -> usize {
        self.out
    }

    /// The instruction set that it was packed for: the only one that can use it.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedMatrix({} × {}, {})", self.out, self.inp, self.kernels.name())
    }
}

/// Copies the rows of one matrix to the columns from `first` on.
struct Pack<'a> {
    weight: &'a [f32],
    inp: usize,
    first: usize,
    panels: &'a mut [f32],
}

impl Work for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Pack { weight, inp, first, panels } = self;
        if inp == 0 {
            return;
        }
        let rows = weight.len() / inp;
        let mut row = 0;
        while row < rows {
            let column = first + row;
            let at = column / S::PANEL * S::PANEL * inp + column % S::PANEL;
            // As many rows as fit beside each other in this panel, at most a vector of them.
            let beside = (rows - row).min(S::PANEL - column % S::PANEL).min(S::WIDTH);
            let from = &weight[row * inp..(row + beside) * inp];
            interleave(s, from, inp, &mut panels[at..]);
            row += beside;
        }
    }
}

/// `to[k · PANEL + r] = from[r · inp + k]` for the rows r of `from`.
#[inline(always)]
fn interleave<S: Simd>(s: S, from: &[f32], inp: usize, to: &mut [f32]) {
    let rows = from.len() / inp;
    let mut k = 0;
    if rows == S::WIDTH {
        while k + S::WIDTH <= inp {
            // SAFETY: WIDTH rows of `inp` ≥ k + WIDTH floats are there to be read; the last place written is
            // (k + WIDTH − 1)·PANEL + WIDTH − 1, inside what the panel has left for `inp` steps.
            unsafe {
                assert!((k + S::WIDTH - 1) * S::PANEL + S::WIDTH <= to.len());
                s.transpose(from.as_ptr().add(k), inp, to.as_mut_ptr().add(k * S::PANEL), S::PANEL);
            }
            k += S::WIDTH;
        }
    }
    for k in k..inp {
        for r in 0..rows {
            to[k * S::PANEL + r] = from[r * inp + k];
        }
    }
}
