//! bf16 where no instruction multiplies both numbers of a word: a task's rows and each panel are made floats once, and f32's tile
//! multiplies them, rather than each tile making floats of them at each step. These are the same chains of multiply-adds, and the same bits.
//!
//! By AVX2 BERT-base takes .68 of the time for 8 × 128 tokens, .76 for 16 and .89 for 8: about as long as in f32 (Zen 4).

use std::ops::Range;

use super::bf16::Bf16Operands;
use super::block::Operands;
use super::pack::Panels;
use super::product::{F32Product, Start};
use crate::memory::stride_of;
use crate::simd::{Simd, Work};

/// The fewest rows that are worth it, as a panel is made floats anew for each task.
const LEAST_ROWS: usize = 8;

/// bf16 that a task makes floats of.
#[derive(Clone, Copy)]
pub(super) struct Widened<'a> {
    words: Bf16Operands<'a>,
    /// Of a row of floats.
    stride: usize,
    /// Where row 0 would be, if there were not only the task's.
    rows: *mut f32,
    panel: *mut f32,
}

// SAFETY: where rows and panel are is set within a task, and used there only.
unsafe impl Sync for Widened<'_> {}

impl<'a> Widened<'a> {
    /// If that is quicker for so many rows.
    pub(super) fn of(words: Bf16Operands<'a>, rows: usize) -> Option<Self> {
        let widens = rows >= LEAST_ROWS && words.panels.kernels.vectorize_bf16(Widens);
        widens.then_some(Widened { words, stride: 0, rows: std::ptr::null_mut(), panel: std::ptr::null_mut() })
    }
}

/// Words are cut into parts at multiples of as many.
const CUT: usize = 16;

impl Widened<'_> {
    fn stride_of(words: usize) -> usize {
        stride_of(2 * words.next_multiple_of(CUT))
    }
}

impl Operands for Widened<'_> {
    type Product = F32Product;
    const ROUGH: bool = true;
    const STEPS: usize = 2;

    #[inline(always)]
    fn panels(&self) -> &Panels {
        self.words.panels
    }

    /// Of the words that have been taken, whichever these are.
    #[inline(always)]
    fn row(&self, row: usize, _: usize) -> *const f32 {
        self.rows.wrapping_add(row * self.stride)
    }

    #[inline(always)]
    fn stride(&self) -> usize {
        self.stride
    }

    fn room(&self, rows: usize, words: usize) -> usize {
        let panel = self.panels().width::<F32Product>();
        rows * Self::stride_of(words) + 2 * words.next_multiple_of(CUT) * panel
    }

    fn in_room(self, rows: &Range<usize>, words: usize, scratch: &mut [f32]) -> Self {
        assert!(scratch.len() >= self.room(rows.len(), words));
        let stride = Self::stride_of(words);
        let (of_rows, panel) = scratch.split_at_mut(rows.len() * stride);
        let first = of_rows.as_mut_ptr().wrapping_sub(rows.start * stride);
        Widened { stride, rows: first, panel: panel.as_mut_ptr(), ..self }
    }

    #[inline(always)]
    unsafe fn take_rows(&self, rows: Range<usize>, words: Range<usize>) {
        debug_assert!(2 * words.len() <= self.stride);
        for row in rows {
            let from = self.words.row(row, words.start);
            let to = self.rows.wrapping_add(row * self.stride).cast::<[f32; 2]>();
            for i in 0..words.len() {
                // SAFETY: a word of x, and two floats of a row in the task's own memory.
                unsafe {
                    let word = from.add(i).read_unaligned();
                    to.add(i).write([f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn take_panel<S: Simd>(&self, s: S, from: *const u32, words: usize) -> *const f32 {
        const { assert!(S::MATRIX_STEPS == CUT) };
        for word in 0..words {
            for v in (0..S::PANEL).step_by(S::WIDTH) {
                // SAFETY: words of the panel, and as many steps, twice, in the task's own memory.
                unsafe {
                    let two = s.load_words(from.add(word * S::PANEL + v));
                    s.store(self.panel.add(2 * word * S::PANEL + v), s.lower(two));
                    s.store(self.panel.add((2 * word + 1) * S::PANEL + v), s.upper(two));
                }
            }
        }
        self.panel
    }

    #[inline(always)]
    fn product(&self, _: usize, _: usize, start: Start) -> F32Product {
        F32Product(start)
    }
}

struct Widens;

impl Work for Widens {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        S::WIDENS_BF16
    }
}
