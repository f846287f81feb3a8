//! The linear layer in bf16.

use super::block::Operands;
use super::product::{Bf16Product, Start};
use super::wide::Widened;
use super::{Epilogue, PackedBf16, Panels, multiply, rows};
use crate::bf16::pairs;
use crate::memory::{with_scratch, words_mut};
use crate::{Bf16, Kernels, Output, Team};

impl Kernels {
    /// [`linear`](Self::linear) with x and W in bf16: their products are added up in f32, two at a time where the processor can.
    /// The results may be rounded to bf16 as they are stored.
    ///
    /// # Panics
    /// As [`linear`](Self::linear).
    pub fn linear_bf16<'a>(
        self,
        team: &dyn Team,
        x: &[Bf16],
        w: &PackedBf16,
        epilogue: Epilogue<'_>,
        out: impl Into<Output<'a>>,
    ) {
        linear(self, team, x, w, epilogue, out.into());
    }
}

/// Generic in nothing, so compiled here once and not wherever it is called.
fn linear(kernels: Kernels, team: &dyn Team, x: &[Bf16], w: &PackedBf16, epilogue: Epilogue<'_>, out: Output<'_>) {
    let (rows, inp) = (rows(kernels, &w.panels, out.len(), w.outputs()), w.inputs());
    assert_eq!(x.len(), rows * inp, "linear: x of {rows} rows");
    let run = |x: *const Bf16| {
        let words = Bf16Operands { x: x.cast(), panels: &w.panels };
        match (out, Widened::of(words, rows)) {
            (Output::F32(out), Some(floats)) => multiply(team, floats, rows, epilogue, out),
            (Output::Bf16(out), Some(floats)) => multiply(team, floats, rows, epilogue, out),
            (Output::F32(out), None) => multiply(team, words, rows, epilogue, out),
            (Output::Bf16(out), None) => multiply(team, words, rows, epilogue, out),
        }
    };
    if inp.is_multiple_of(2) {
        return run(x.as_ptr());
    }
    // Rows that end in the middle of a word are copied, and the words filled up.
    with_scratch(rows * w.panels.steps, |scratch| {
        let words = words_mut(scratch);
        for (to, from) in words.chunks_exact_mut(w.panels.steps).zip(x.chunks_exact(inp)) {
            pairs(from, to);
        }
        run(words.as_ptr().cast());
    });
}

#[derive(Clone, Copy)]
pub(super) struct Bf16Operands<'a> {
    /// Words, which need not be aligned.
    x: *const u32,
    pub panels: &'a Panels,
}

// SAFETY: x is only read, and outlives the call of `linear_bf16` that made it.
unsafe impl Sync for Bf16Operands<'_> {}

impl Operands for Bf16Operands<'_> {
    type Product = Bf16Product;
    const ROUGH: bool = true;

    #[inline(always)]
    fn panels(&self) -> &Panels {
        self.panels
    }

    #[inline(always)]
    fn row(&self, row: usize, k: usize) -> *const u32 {
        self.x.wrapping_add(row * self.panels.steps + k)
    }

    #[inline(always)]
    fn product(&self, _: usize, _: usize, start: Start) -> Bf16Product {
        Bf16Product(start)
    }
}
