//! The micro-kernel: the loop in which the processor spends its time.

use super::product::Product;
use crate::simd::{Simd, Work};

/// One tile of a matrix product: `c[r][j] = start[r][j] + Σ a[r][k] · b[k][j]` for `ROWS` rows r and the [`Simd::PANEL`] columns
/// j of one panel, k ascending.
///
/// All sums stay in registers while k runs, so each step costs two loads of b, `ROWS` broadcasts of a and 2·`ROWS`
/// multiply-adds: the multiply-adds are what it waits for. A step is a word of 32 bits: one k in f32, two in bf16, four in int8.
/// What else the precisions do differently is up to their [`Product`].
///
/// Every element is one chain of multiply-adds. Where it lies in the tile, and how many rows the tile has, changes
/// which register holds it and nothing else.
pub(crate) struct Tile<P: Product> {
    pub product: P,
    /// Row r of a starts at `a + r · a_stride`.
    pub a: *const P::Word,
    pub a_stride: usize,
    /// Step k of b starts at `b + k · PANEL`.
    pub b: *const P::Word,
    /// Steps of the sum.
    pub depth: usize,
    /// Row r of c starts at `c + r · c_stride`.
    pub c: *mut f32,
    pub c_stride: usize,
    /// What will be needed soon, to be brought into the cache meanwhile.
    pub ahead: Ahead,
}

/// Cache lines to prefetch, spread over the loop over k.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pub start: *const f32,
    /// For each [`STEP`] of k.
    pub lines_per_step: usize,
}

impl Ahead {
    pub(crate) const NOTHING: Ahead = Ahead { start: std::ptr::null(), lines_per_step: 0 };
}

/// How many steps of k pass between prefetches. Few, since many at once hold up the loads: with 4 rather than 8, a product of 16
/// rows, which waits for weights most, was 10 to 15 % faster in bf16 and f32.
pub(crate) const STEP: usize = 4;

impl<P: Product> Tile<P> {
    /// # Safety
    /// 1 ≤ `rows` ≤ `TILE_ROWS`; a can be read for `rows` × `depth`, b for `depth` × `PANEL` words, what the product says for as
    /// many rows; c can be written for `rows` × `PANEL` floats, and overlaps neither a nor b.
    #[inline(always)]
    pub(crate) unsafe fn run_rows<S: Simd>(self, s: S, rows: usize) {
        debug_assert!(1 <= rows && rows <= S::TILE_ROWS);
        macro_rules! with_rows {
            ($($n:literal)*) => {
                match rows {
                    $($n if $n <= S::TILE_ROWS => s.vectorize(OfRows::<$n, P>(self)),)*
                    // SAFETY: the caller promised that there is no other case.
                    _ => unsafe { std::hint::unreachable_unchecked() },
                }
            };
        }
        with_rows!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

struct OfRows<const ROWS: usize, P: Product>(Tile<P>);

impl<const ROWS: usize, P: Product> Work for OfRows<ROWS, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { product, a, a_stride, mut b, depth, c, c_stride, ahead } = self.0;
        // SAFETY: all accesses are those that the caller of `run_rows` vouches for.
        unsafe {
            let mut sums = [[product.start(s, 0, 0); 2]; ROWS];
            for (r, [left, right]) in sums.iter_mut().enumerate() {
                *left = product.start(s, r, 0);
                *right = product.start(s, r, 1);
            }
            let mut next = ahead.start;
            let mut k = if P::add_all(s, a, a_stride, b, depth, &mut sums) { depth } else { 0 };
            while k < depth {
                for _ in 0..ahead.lines_per_step {
                    s.prefetch(next);
                    next = next.wrapping_add(crate::memory::LINE);
                }
                let stop = depth.min(k + STEP);
                while k < stop {
                    let b_left = P::load(s, b);
                    let b_right = P::load(s, b.add(S::WIDTH));
                    for (r, [left, right]) in sums.iter_mut().enumerate() {
                        let a = P::broadcast(s, a.add(r * a_stride + k));
                        *left = P::add(s, a, b_left, *left);
                        *right = P::add(s, a, b_right, *right);
                    }
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
