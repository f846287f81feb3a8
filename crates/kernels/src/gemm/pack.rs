//! Weights, rearranged once at load into the order in which the micro-kernel reads them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::product::{Bf16Product, F32Product, Product};
use crate::bf16::{pairs, round_row};
use crate::isa::PanelWidth;
use crate::memory::{Aligned, AllocError};
use crate::simd::{Simd, Work};
use crate::team::{self, piece};
use crate::{Bf16, Kernels, Solo, Team};

/// Panels of words: what the packed matrices of all precisions have in common.
///
/// A panel is a strip of output columns (32 for AVX-512: two vectors), stored step by step: for each of the inputs, or each
/// two of them in bf16 and four in int8, the words that lead from there to these columns, side by side. The micro-kernel
/// reads a panel from front to back, one cache line after the other. Columns that the last panel lacks are zeros.
///
/// Where registers hold whole tiles, of every 16 steps the left halves lie side by side, and behind them the right ones: each is loaded
/// from lines that follow each other, a ninth faster.
pub(super) struct Panels {
    pub kernels: Kernels,
    /// The length of an input row.
    pub inp: usize,
    /// The length of an output row.
    pub out: usize,
    /// Whether a panel is a vector of columns of one matrix and the same columns of another (see `gated`).
    pub pairs: bool,
    /// Words for each column.
    pub steps: usize,
    pub words: Aligned,
}

/// The matrix that is multiplied with next, by as many rows: its first weights are prefetched by the end of this product.
#[derive(Clone, Copy)]
pub struct Upcoming<'a>(pub(super) &'a Panels);

impl fmt::Debug for Upcoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upcoming({} × {})", self.0.out, self.0.inp)
    }
}

/// How the weights of one output column turn into words.
pub(super) trait Encode {
    type Product: Product;

    /// Writes all of `words`; what `weights` lack to fill the last one is zero.
    fn column<S: Simd>(&mut self, s: S, column: usize, weights: &[f32], words: &mut [u32]);
}

impl Panels {
    /// Packs matrices `[out_i, in]` as if their rows were one matrix, a part of the panels by each of `encoders`.
    pub(super) fn pack<E: Encode + Send>(
        kernels: Kernels,
        team: &dyn Team,
        weights: &[(&[f32], usize)],
        inp: usize,
        encoders: &mut [E],
    ) -> Result<Self, AllocError> {
        let out: usize = weights.iter().map(|(_, out)| out).sum();
        let steps = inp.div_ceil(E::Product::NUMBERS);
        let panel = E::Product::vectorize(kernels, PanelWidth);
        let panels = out.div_ceil(panel);
        let len = panels.checked_mul(panel).and_then(|columns| columns.checked_mul(steps));
        let mut words = Aligned::try_zeroed(len.ok_or(AllocError { bytes: usize::MAX })?)?;
        for &(weight, out) in weights {
            assert_eq!(weight.len(), out * inp, "pack: weight of {out} × {inp}");
        }
        let (parts, mut rest) = (encoders.len(), words.as_mut_slice());
        let mut tasks = Vec::with_capacity(parts);
        for (part, encode) in encoders.iter_mut().enumerate() {
            let panels = piece(panels, parts, part);
            let (words, others) = rest.split_at_mut(panels.len() * panel * steps);
            rest = others;
            tasks.push(Mutex::new((panels.start * panel..panels.end * panel, encode, words)));
        }
        team::run(team, parts, |part| {
            // Nobody else has this part.
            let (columns, encode, words) = &mut *tasks[part].lock().unwrap_or_else(PoisonError::into_inner);
            let mut first = 0;
            for &(weight, out) in weights {
                let (from, to) = (columns.start.max(first), columns.end.min(first + out));
                if from < to {
                    let weight = &weight[(from - first) * inp..(to - first) * inp];
                    let first = from - columns.start;
                    E::Product::vectorize(kernels, Pack { weight, inp, steps, first, encode: &mut **encode, words });
                }
                first += out;
            }
            if E::Product::IN_MATRICES {
                E::Product::vectorize(kernels, SplitHalves { panel: panel * steps, words });
            }
        });
        drop(tasks);
        Ok(Panels { kernels, inp, out, pairs: false, steps, words })
    }

    /// Where a panel starts.
    pub(super) fn panel<P: Product>(&self, panel: usize) -> *const f32 {
        let words = self.width::<P>() * self.steps;
        self.words.as_ptr().wrapping_add(panel * words).cast()
    }

    /// Whether registers for whole tiles multiply them.
    pub(super) fn in_matrices<P: Product>(&self) -> bool {
        P::IN_MATRICES && P::vectorize(self.kernels, HasMatrices)
    }

    /// Columns of a panel.
    pub(super) fn width<P: Product>(&self) -> usize {
        P::vectorize(self.kernels, PanelWidth)
    }

    /// How many panels there are.
    pub(super) fn count<P: Product>(&self) -> usize {
        let panel = self.width::<P>();
        self.out.div_ceil(if self.pairs { panel / 2 } else { panel })
    }

    /// Makes the columns pairs, which give results of that length.
    pub(super) fn pair_up(&mut self, out: usize) {
        (self.pairs, self.out) = (true, out);
    }
}

/// Into how many parts to cut the panels: a few for each thread, so that one that is held up does not hold up the others.
fn parts(team: &dyn Team) -> usize {
    match team.threads() {
        0 | 1 => 1,
        threads => 4 * threads,
    }
}

/// Copies the rows of one matrix to the columns from `first` on.
struct Pack<'a, E> {
    weight: &'a [f32],
    inp: usize,
    steps: usize,
    first: usize,
    encode: &'a mut E,
    words: &'a mut [u32],
}

impl<E: Encode> Work for Pack<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Pack { weight, inp, steps, first, encode, words } = self;
        if inp == 0 {
            return;
        }
        let rows = weight.len() / inp;
        let mut encoded = vec![0; S::WIDTH * steps];
        let mut row = 0;
        while row < rows {
            let column = first + row;
            let at = column / S::PANEL * S::PANEL * steps + column % S::PANEL;
            // As many rows as fit beside each other in this panel, at most a vector of them.
            let beside = (rows - row).min(S::PANEL - column % S::PANEL).min(S::WIDTH);
            let from = &weight[row * inp..(row + beside) * inp];
            for (r, (weights, words)) in from.chunks_exact(inp).zip(encoded.chunks_exact_mut(steps)).enumerate() {
                encode.column(s, column + r, weights, words);
            }
            interleave(s, &encoded[..beside * steps], steps, &mut words[at..]);
            row += beside;
        }
    }
}

struct HasMatrices;

impl Work for HasMatrices {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        S::MATRIX_ROWS > 0
    }
}

/// Moves the halves of steps apart where registers hold whole tiles, in panels of so many words.
struct SplitHalves<'a> {
    panel: usize,
    words: &'a mut [u32],
}

impl Work for SplitHalves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        if S::MATRIX_ROWS == 0 || self.panel == 0 {
            return;
        }
        let mut steps = vec![0; S::MATRIX_STEPS * S::PANEL];
        for panel in self.words.chunks_exact_mut(self.panel) {
            for words in panel.chunks_exact_mut(steps.len()) {
                steps.copy_from_slice(words);
                let (left, right) = words.split_at_mut(S::MATRIX_STEPS * S::WIDTH);
                let halves = left.chunks_exact_mut(S::WIDTH).zip(right.chunks_exact_mut(S::WIDTH));
                for (step, (left, right)) in steps.chunks_exact(S::PANEL).zip(halves) {
                    left.copy_from_slice(&step[..S::WIDTH]);
                    right.copy_from_slice(&step[S::WIDTH..]);
                }
            }
        }
    }
}

/// `to[k · PANEL + r] = from[r · steps + k]` for the rows r of `from`.
#[inline(always)]
pub(crate) fn interleave<S: Simd>(s: S, from: &[u32], steps: usize, to: &mut [u32]) {
    let rows = from.len() / steps;
    let mut k = 0;
    if rows == S::WIDTH {
        while k + S::WIDTH <= steps {
            assert!((k + S::WIDTH - 1) * S::PANEL + S::WIDTH <= to.len());
            // SAFETY: WIDTH rows of `steps` ≥ k + WIDTH words are there to be read; the last place written is
            // (k + WIDTH − 1)·PANEL + WIDTH − 1, inside what the panel has left for `steps` steps. Words may pass for floats
            // while they are only moved.
            unsafe {
                let to = to.as_mut_ptr().add(k * S::PANEL);
                s.transpose(from.as_ptr().add(k).cast(), steps, to.cast(), S::PANEL);
            }
            k += S::WIDTH;
        }
    }
    for k in k..steps {
        for r in 0..rows {
            to[k * S::PANEL + r] = from[r * steps + k];
        }
    }
}

/// Implements what every packed matrix can say of itself.
macro_rules! describe {
    ($name:ident) => {
        impl $name {
            /// The length of an input row.
            pub fn inputs(&self) -> usize {
                self.panels.inp
            }

            /// The length of an output row.
            pub fn outputs(&self) -> usize {
                self.panels.out
            }

            /// This matrix as the one that is multiplied with next.
            pub fn upcoming(&self) -> $crate::Upcoming<'_> {
                $crate::gemm::Upcoming(&self.panels)
            }

            /// The instruction set that it was packed for: the only one that can use it.
            pub fn kernels(&self) -> crate::Kernels {
                self.panels.kernels
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let (out, inp, name) = (self.outputs(), self.inputs(), self.kernels().name());
                write!(f, concat!(stringify!($name), "({} × {}, {})"), out, inp, name)
            }
        }
    };
}
pub(super) use describe;

/// A weight matrix `[out, in]` in f32, packed in panels for one instruction set.
pub struct PackedMatrix {
    pub(super) panels: Panels,
}

describe!(PackedMatrix);

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
        Self::pack_by(&Solo, kernels, weights, inp)
    }

    /// [`pack_side_by_side`](Self::pack_side_by_side) by several threads.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn pack_by(
        team: &dyn Team,
        kernels: Kernels,
        weights: &[(&[f32], usize)],
        inp: usize,
    ) -> Result<Self, AllocError> {
        let mut encoders: Vec<_> = (0..parts(team)).map(|_| AsTheyAre).collect();
        Ok(Self { panels: Panels::pack(kernels, team, weights, inp, &mut encoders)? })
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.panels.words.bytes()
    }
}

struct AsTheyAre;

impl Encode for AsTheyAre {
    type Product = F32Product;

    #[inline(always)]
    fn column<S: Simd>(&mut self, _: S, _: usize, weights: &[f32], words: &mut [u32]) {
        for (word, weight) in words.iter_mut().zip(weights) {
            *word = weight.to_bits();
        }
    }
}

/// A weight matrix `[out, in]` in bf16, packed in panels for one instruction set.
pub struct PackedBf16 {
    pub(super) panels: Panels,
}

describe!(PackedBf16);

impl PackedBf16 {
    /// Rounds matrices to bf16 and packs them side by side, as [`PackedMatrix::pack_side_by_side`] does.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    ///
    /// # Panics
    /// Unless each has `out_i` × `inp` elements.
    pub fn pack_side_by_side(kernels: Kernels, weights: &[(&[f32], usize)], inp: usize) -> Result<Self, AllocError> {
        Self::pack_by(&Solo, kernels, weights, inp)
    }

    /// [`pack_side_by_side`](Self::pack_side_by_side) by several threads.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn pack_by(
        team: &dyn Team,
        kernels: Kernels,
        weights: &[(&[f32], usize)],
        inp: usize,
    ) -> Result<Self, AllocError> {
        let mut encoders: Vec<_> = (0..parts(team)).map(|_| Rounded(vec![Bf16::default(); inp])).collect();
        Ok(Self { panels: Panels::pack(kernels, team, weights, inp, &mut encoders)? })
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.panels.words.bytes()
    }
}

/// With room for a column.
struct Rounded(Vec<Bf16>);

impl Encode for Rounded {
    type Product = Bf16Product;

    #[inline(always)]
    fn column<S: Simd>(&mut self, s: S, _: usize, weights: &[f32], words: &mut [u32]) {
        let rounded = &mut self.0[..weights.len()];
        round_row(s, weights, rounded);
        pairs(rounded, words);
    }
}
