//! The micro-kernel: the loop in which the processor spends its time.

use super::product::{Product, Start};
use crate::memory::LINE;
use crate::simd::{Matrix, Simd, Work};
use crate::team::piece;

/// One tile of a matrix product: `c[r][j] = start[r][j] + Σ a[r][k] · b[k][j]` for `ROWS` rows r and the [`Simd::PANEL`] columns
/// j of one panel, k ascending.
///
/// All sums stay in registers while k runs, so each step costs two loads of b, `ROWS` broadcasts of a and 2·`ROWS`
/// multiply-adds. A step is a word of 32 bits: one k in f32, two in bf16, four in int8. What else the precisions do differently is up to
/// their [`Product`].
///
/// The multiply-adds are what it waits for, unless another thread shares the core: then each instruction costs time. So [`STEP`] steps are
/// written out, with addresses computed once. Where that is not enough, an instruction set has a loop of its own ([`Simd::tile_f32`]).
///
/// Every element is one chain of multiply-adds. Where it lies in the tile, and how many rows the tile has, changes
/// which register holds it and nothing else.
///
/// Where the processor has registers for whole tiles ([`Matrix`]), these take as many steps as they can, and vectors the last few.
#[derive(Clone, Copy)]
pub(crate) struct Tile<P: Product> {
    pub product: P,
    /// Row r of a starts at `a + r · a_stride`.
    pub a: *const P::Word,
    pub a_stride: usize,
    /// Step k of b starts at `b + k · PANEL`, unless its halves lie apart.
    pub b: *const P::Word,
    /// Whether they do, in the steps that registers for whole tiles take.
    pub halves_apart: bool,
    /// Steps of the sum.
    pub depth: usize,
    /// Row r of c starts at `c + r · c_stride`.
    pub c: *mut f32,
    pub c_stride: usize,
    /// What will be needed soon, to be brought into the cache meanwhile.
    pub ahead: Ahead,
}

/// Cache lines to prefetch, spread over the loop over k.
///
/// Where there are enough of them they come in [`STREAMS`] streams, a quarter of them each. The processor's own prefetcher runs ahead of
/// each stream, so several fetch more than one: 1.3 times as much on Sapphire Rapids, where one stream gets 9 GB/s.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pub start: *const f32,
    /// For each [`STEP`] of k.
    pub lines_per_step: usize,
    /// Floats from the start of a stream to that of the next.
    pub apart: usize,
}

/// Streams of what is prefetched.
pub(crate) const STREAMS: usize = 4;

impl Ahead {
    pub(crate) const NOTHING: Ahead = Ahead { start: std::ptr::null(), lines_per_step: 0, apart: 0 };

    /// `lines_per_step` lines from `start` on for each of so many [`STEP`]s.
    pub(crate) fn new(start: *const f32, lines_per_step: usize, steps: usize) -> Self {
        Ahead { start, lines_per_step, apart: (lines_per_step * steps / STREAMS).max(1) * LINE }
    }
}

/// How many steps of k pass between prefetches. Few, since many at once hold up the loads: with 4 rather than 8, a product of 16
/// rows, which waits for weights most, was 10 to 15 % faster in bf16 and f32.
pub(crate) const STEP: usize = 4;

/// The most rows whose sums vector registers hold.
const MOST_ROWS: usize = 12;

impl<P: Product> Tile<P> {
    /// # Safety
    /// 1 ≤ `rows` ≤ `P::most_rows::<S>()`; a can be read for `rows` × `depth`, b for `depth` × `PANEL` words, what the product says for as
    /// many rows; c can be written for `rows` × `PANEL` floats, and overlaps neither a nor b.
    #[inline(always)]
    pub(crate) unsafe fn run_rows<S: Simd>(self, s: S, rows: usize) {
        debug_assert!(1 <= rows && rows <= P::most_rows::<S>());
        // SAFETY: the caller's promise.
        unsafe {
            if S::MATRIX_ROWS > 0 && P::IN_MATRICES && self.depth >= S::MATRIX_STEPS {
                P::multiply_matrix(self, s, rows);
            } else {
                self.run_by_vectors(s, rows);
            }
        }
    }

    /// The same in vector registers, which hold fewer rows at a time.
    ///
    /// # Safety
    /// As for [`run_rows`](Self::run_rows).
    #[inline(always)]
    pub(super) unsafe fn run_by_vectors<S: Simd>(self, s: S, rows: usize) {
        macro_rules! with_rows {
            ($tile:expr, $rows:expr, $($n:literal)*) => {
                match $rows {
                    $($n if $n <= P::vector_rows::<S>() => s.vectorize(OfRows::<$n, P>($tile)),)*
                    // SAFETY: a part has at least one row and at most `vector_rows`.
                    _ => unsafe { std::hint::unreachable_unchecked() },
                }
            };
        }
        let most = P::vector_rows::<S>();
        let parts = if P::most_rows::<S>() > most { rows.div_ceil(most) } else { 1 };
        for part in 0..parts {
            let rows = piece(rows, parts, part);
            let tile = Tile {
                product: self.product.at_row(rows.start),
                a: self.a.wrapping_add(rows.start * self.a_stride),
                c: self.c.wrapping_add(rows.start * self.c_stride),
                ahead: if part == 0 { self.ahead } else { Ahead::NOTHING },
                ..self
            };
            with_rows!(tile, rows.len(), 1 2 3 4 5 6 7 8 9 10 11 12);
        }
    }

    /// As many steps as registers for whole tiles take: the rest is left to vectors, which go on from there.
    pub(super) fn matrix_steps<S: Simd>(&self) -> usize {
        self.depth / S::MATRIX_STEPS * S::MATRIX_STEPS
    }

    /// Those steps, with sums that start where `start` says, or at 0.
    pub(super) fn matrix<S: Simd>(&self, rows: usize, start: Option<Start>) -> Matrix {
        let Tile { a, a_stride, b, halves_apart, c, c_stride, ahead, .. } = *self;
        Matrix {
            rows,
            a: a.cast(),
            a_stride,
            b: b.cast(),
            halves_apart,
            depth: self.matrix_steps::<S>(),
            start: start.map_or(std::ptr::null(), |start| start.at),
            start_stride: start.map_or(0, |start| start.stride),
            c,
            c_stride,
            ahead: ahead.start,
            ahead_apart: ahead.apart,
            ahead_lines: ahead.lines_per_step * S::MATRIX_STEPS / STEP / STREAMS,
        }
    }

    /// What follows those steps.
    pub(super) fn after_matrix<S: Simd, Q: Product<Word = P::Word>>(self, product: Q) -> Tile<Q> {
        let Tile { a, a_stride, b, depth, c, c_stride, .. } = self;
        let done = self.matrix_steps::<S>();
        Tile {
            product,
            a: a.wrapping_add(done),
            a_stride,
            b: b.wrapping_add(done * S::PANEL),
            halves_apart: false,
            depth: depth - done,
            c,
            c_stride,
            ahead: Ahead::NOTHING,
        }
    }
}

struct OfRows<const ROWS: usize, P: Product>(Tile<P>);

impl<const ROWS: usize, P: Product> Work for OfRows<ROWS, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the promise of who calls `run_rows`.
        if unsafe { P::multiply_rows::<S, ROWS>(&self.0, s) } {
            return;
        }
        let Tile { product, a, a_stride, mut b, depth, c, c_stride, ahead, .. } = self.0;
        // SAFETY: all accesses are those that the caller of `run_rows` vouches for.
        unsafe {
            let mut sums = [[product.start(s, 0, 0); 2]; ROWS];
            for (r, [left, right]) in sums.iter_mut().enumerate() {
                *left = product.start(s, r, 0);
                *right = product.start(s, r, 1);
            }
            let mut next = ahead.start;
            let streams = if ahead.lines_per_step.is_multiple_of(STREAMS) { STREAMS } else { 1 };
            let mut k = if P::add_all(s, a, a_stride, b, depth, &mut sums) { depth } else { 0 };
            const { assert!(ROWS <= MOST_ROWS) };
            // Written out row by row: a loop over so many would not be unrolled, and the sums would lie in memory.
            macro_rules! add_step {
                ($pairs:ident, $j:literal, $($r:literal)*) => {{
                    let b_left = P::load(s, b.add($j * S::PANEL));
                    let b_right = P::load(s, b.add($j * S::PANEL + S::WIDTH));
                    $(if $r < ROWS {
                        let [left, right] = sums[$r];
                        let a = P::broadcast(s, $pairs[$r / 2].add($r % 2 * a_stride + $j));
                        sums[$r] = [P::add(s, a, b_left, left), P::add(s, a, b_right, right)];
                    })*
                }};
                ($pairs:ident, $j:literal) => { add_step!($pairs, $j, 0 1 2 3 4 5 6 7 8 9 10 11) };
            }
            while k < depth {
                for _ in 0..ahead.lines_per_step / streams {
                    for stream in 0..streams {
                        s.prefetch(next.wrapping_add(stream * ahead.apart));
                    }
                    next = next.wrapping_add(LINE);
                }
                // Each other row has an address of its own; the next row's is that and the stride.
                let pairs: [_; MOST_ROWS / 2] = std::array::from_fn(|pair| a.wrapping_add(2 * pair * a_stride + k));
                if k + STEP <= depth {
                    add_step!(pairs, 0);
                    add_step!(pairs, 1);
                    add_step!(pairs, 2);
                    add_step!(pairs, 3);
                    b = b.add(STEP * S::PANEL);
                    k += STEP;
                } else {
                    add_step!(pairs, 0);
                    b = b.add(S::PANEL);
                    k += 1;
                }
            }
            for (r, [left, right]) in product.finish(s, sums).into_iter().enumerate() {
                s.store(c.add(r * c_stride), left);
                s.store(c.add(r * c_stride + S::WIDTH), right);
            }
        }
    }
}
