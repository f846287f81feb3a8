//! The micro-kernel: the loop in which the processor spends its time.

use crate::simd::{Simd, Work};

/// One tile of a matrix product: `c[r][j] += Σ a[r][k] · b[k][j]` for `ROWS` rows r and the [`Simd::PANEL`] columns j of one
/// panel, k ascending.
///
/// All of c stays in registers while k runs, so each step costs two loads of b, `ROWS` broadcasts of a and 2·`ROWS`
/// multiply-adds: the multiply-adds are what it waits for.
///
/// Every element is one chain of multiply-adds. Where it lies in the tile, and how many rows the tile has, changes
/// which register holds it and nothing else.
pub(crate) struct Tile {
    /// Row r of a starts at `a + r · a_stride`.
    pub a: *const f32,
    pub a_stride: usize,
    /// Row k of b starts at `b + k · PANEL`.
    pub b: *const f32,
    /// Length of the sum.
    pub depth: usize,
    /// Row r of c starts at `c + r · c_stride`.
    pub c: *mut f32,
    pub c_stride: usize,
    /// Whether c holds the sum of earlier k, to be continued; or else it starts at 0.
    pub resume: bool,
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

/// How many k pass between prefetches.
pub(crate) const STEP: usize = 8;

impl Tile {
    /// # Safety
    /// 1 ≤ `rows` ≤ `TILE_ROWS`; a can be read for `rows` × `depth`, b for `depth` × `PANEL`, c read and written for
    /// `rows` × `PANEL` floats, and c overlaps neither.
    #[inline(always)]
    pub(crate) unsafe fn run_rows<S: Simd>(self, s: S, rows: usize) {
        debug_assert!(1 <= rows && rows <= S::TILE_ROWS);
        macro_rules! with_rows {
            ($($n:literal)*) => {
                match rows {
                    $($n if $n <= S::TILE_ROWS => s.vectorize(OfRows::<$n>(self)),)*
                    // SAFETY: the caller promised that there is no other case.
                    _ => unsafe { std::hint::unreachable_unchecked() },
                }
            };
        }
        with_rows!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

struct OfRows<const ROWS: usize>(Tile);

impl<const ROWS: usize> Work for OfRows<ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { a, a_stride, mut b, depth, c, c_stride, resume, ahead } = self.0;
        let mut sums = [[s.splat(0.0); 2]; ROWS];
        // SAFETY: all accesses are those that the caller of `run_rows` vouches for.
        unsafe {
            if resume {
                for (r, [left, right]) in sums.iter_mut().enumerate() {
                    *left = s.load(c.add(r * c_stride));
                    *right = s.load(c.add(r * c_stride + S::WIDTH));
                }
            }
            let mut next = ahead.start;
            let mut k = 0;
            while k < depth {
                for _ in 0..ahead.lines_per_step {
                    s.prefetch(next);
                    next = next.wrapping_add(crate::memory::LINE);
                }
                let stop = depth.min(k + STEP);
                while k < stop {
                    let b_left = s.load(b);
                    let b_right = s.load(b.add(S::WIDTH));
                    for (r, [left, right]) in sums.iter_mut().enumerate() {
                        let a = s.splat(*a.add(r * a_stride + k));
                        *left = s.fma(a, b_left, *left);
                        *right = s.fma(a, b_right, *right);
                    }
                    b = b.add(S::PANEL);
                    k += 1;
                }
            }
            for (r, [left, right]) in sums.iter().enumerate() {
                s.store(c.add(r * c_stride), *left);
                s.store(c.add(r * c_stride + S::WIDTH), *right);
            }
        }
    }
}
