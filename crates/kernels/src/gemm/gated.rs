//! Gated linear units (Shazeer 2020): `activation(bias₁ + x · W₁ᵀ) · (bias₂ + x · W₂ᵀ)`.
//!
//! The two matrices are packed so that each panel has a vector of columns of the first and the same columns of the second. A
//! tile then has in its registers both factors of its results, and half as many numbers are stored as are summed up.

use super::pack::{PackedBf16, PackedMatrix, Panels};
use super::product::{Bf16Product, F32Product, Product};
use super::{PackedInt8, int8};
use crate::isa::PanelWidth;
use crate::memory::AllocError;
use crate::simd::{MOST_TILE_ROWS, Simd, WIDEST};
use crate::{Activation, Kernels, Team};

impl PackedMatrix {
    /// Packs two matrices `[out, in]` as a gated linear unit: products with it are `out` wide, their bias is that of `gate` and
    /// behind it that of `up`, and the activation is that of `gate`'s half. By several threads.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    ///
    /// # Panics
    /// Unless both have as many elements, in rows of `inp`.
    pub fn pack_gated(
        team: &dyn Team,
        kernels: Kernels,
        gate: &[f32],
        up: &[f32],
        inp: usize,
    ) -> Result<Self, AllocError> {
        let pack = |strips: &[(&[f32], usize)]| Self::pack_by(team, kernels, strips, inp);
        gated::<F32Product, _>(kernels, gate, up, inp, pack, |packed| &mut packed.panels)
    }
}

impl PackedBf16 {
    /// [`PackedMatrix::pack_gated`], rounded to bf16.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn pack_gated(
        team: &dyn Team,
        kernels: Kernels,
        gate: &[f32],
        up: &[f32],
        inp: usize,
    ) -> Result<Self, AllocError> {
        let pack = |strips: &[(&[f32], usize)]| Self::pack_by(team, kernels, strips, inp);
        gated::<Bf16Product, _>(kernels, gate, up, inp, pack, |packed| &mut packed.panels)
    }
}

impl PackedInt8 {
    /// [`PackedMatrix::pack_gated`], rounded to int8 as [`pack_side_by_side`](Self::pack_side_by_side) does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As both.
    pub fn pack_gated(
        kernels: Kernels,
        gate: &[f32],
        up: &[f32],
        inp: usize,
        outliers: &[usize],
    ) -> Result<Self, AllocError> {
        let pack = |strips: &[(&[f32], usize)]| Self::pack_side_by_side(kernels, strips, inp, outliers);
        gated::<int8::Int8Product, _>(kernels, gate, up, inp, pack, |packed| &mut packed.panels)
    }
}

/// Packs strips of columns, a vector of the one and a vector of the other in turn.
fn gated<P: Product, M>(
    kernels: Kernels,
    gate: &[f32],
    up: &[f32],
    inp: usize,
    pack: impl FnOnce(&[(&[f32], usize)]) -> Result<M, AllocError>,
    panels: impl FnOnce(&mut M) -> &mut Panels,
) -> Result<M, AllocError> {
    assert!(gate.len() == up.len() && inp > 0 && gate.len().is_multiple_of(inp), "pack: gate and up in rows of {inp}");
    let width = P::vectorize(kernels, PanelWidth) / 2;
    // What the last vectors lack.
    let zeros = vec![0.0; (width - 1) * inp];
    let mut strips = Vec::new();
    for (gate, up) in gate.chunks(width * inp).zip(up.chunks(width * inp)) {
        let rows = gate.len() / inp;
        for strip in [gate, up] {
            strips.push((strip, rows));
            strips.push((&zeros[..(width - rows) * inp], width - rows));
        }
    }
    let mut packed = pack(&strips)?;
    panels(&mut packed).pair_up(gate.len() / inp);
    Ok(packed)
}

/// What the columns of a panel of pairs start at.
#[inline(always)]
pub(super) fn start<S: Simd>(bias: &[f32], columns: std::ops::Range<usize>, to: &mut [f32]) {
    let (gate, up) = bias.split_at(bias.len() / 2);
    for (half, bias) in [gate, up].into_iter().enumerate() {
        for (to, from) in to[half * S::WIDTH..].iter_mut().zip(&bias[columns.clone()]) {
            *to = *from;
        }
    }
}

/// The left vectors of a tile, side by side.
#[repr(align(64))]
struct Left([f32; MOST_TILE_ROWS * WIDEST]);

/// Replaces the left vector of each row of a tile by its activation times the right one.
#[inline(always)]
pub(super) fn gate<S: Simd>(s: S, activation: Activation, rough: bool, tile: &mut [f32]) {
    let mut left = Left([0.0; MOST_TILE_ROWS * WIDEST]);
    let (from, to) = (tile.as_mut_ptr(), left.0.as_mut_ptr());
    let rows = tile.len() / S::PANEL;
    assert!(rows <= MOST_TILE_ROWS);
    // Together, since one vector at a time would wait for each step of the activation.
    let together = rows * S::WIDTH;
    // SAFETY: `rows` rows of two vectors in the tile, and as many vectors beside it.
    unsafe {
        for row in 0..rows {
            s.store(to.add(row * S::WIDTH), s.load(from.add(row * S::PANEL)));
        }
    }
    match rough {
        true => activation.apply_rough(s, &mut left.0[..together]),
        false => activation.apply(s, &mut left.0[..together]),
    }
    // SAFETY: as above.
    unsafe {
        for row in 0..rows {
            let right = s.load(from.add(row * S::PANEL + S::WIDTH));
            s.store(from.add(row * S::PANEL), s.mul(s.load(left.0.as_ptr().add(row * S::WIDTH)), right));
        }
    }
}
