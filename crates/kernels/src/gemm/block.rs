//! Some rows times some panels, on one thread.

use std::ops::Range;

use super::product::{F32Product, Product, Start};
use super::tile::{Ahead, STEP, Tile};
use super::{Epilogue, Panels, gated};
use crate::memory::{LINE, SET_SPAN, Strided};
use crate::output::Element;
use crate::simd::{MOST_TILE_ROWS, Simd, WIDEST, Work};
use crate::team::{Shared, piece};

/// A precision's inputs and weights.
pub(super) trait Operands: Copy {
    type Product: Product;

    /// Whether unfinished sums are floats, so that they can wait in memory for floats.
    const RESUMES: bool = true;

    /// Whether its numbers are so rough that the activation may be.
    const ROUGH: bool;

    /// Steps of a tile for each word of the weights: more than one where words are taken apart before they are multiplied.
    const STEPS: usize = 1;

    fn panels(&self) -> &Panels;

    /// Where that row of inputs is from its word `k` on. The next row is `stride` words further.
    fn row(&self, row: usize, k: usize) -> *const <Self::Product as Product>::Word;

    fn stride(&self) -> usize {
        self.panels().steps
    }

    /// How many floats of scratch memory a task of so many rows needs, for parts of so many words.
    fn room(&self, _rows: usize, _words: usize) -> usize {
        0
    }

    /// These for a task of those rows, in its scratch memory.
    fn in_room(self, _rows: &Range<usize>, _words: usize, _scratch: &mut [f32]) -> Self {
        self
    }

    /// Called before tiles read these words of these rows.
    ///
    /// # Safety
    /// There are such rows and words, and what [`in_room`](Self::in_room) was given is there and nobody else's.
    #[inline(always)]
    unsafe fn take_rows(&self, _rows: Range<usize>, _words: Range<usize>) {}

    /// Called before tiles read so many words of a panel: says where they are to read.
    ///
    /// # Safety
    /// There are so many at `from`; and as for [`take_rows`](Self::take_rows).
    #[inline(always)]
    unsafe fn take_panel<S: Simd>(
        &self,
        _: S,
        from: *const u32,
        _words: usize,
    ) -> *const <Self::Product as Product>::Word {
        from.cast()
    }

    /// Asks for what else a panel's columns need, beside weights and bias.
    fn expect<S: Simd>(&self, _: S, _panel: usize) {}

    /// What multiplies a tile whose first row and panel these are.
    fn product(&self, row: usize, panel: usize, start: Start) -> Self::Product;
}

pub(super) struct Block<'a, X, Y> {
    pub x: X,
    pub epilogue: Epilogue<'a>,
    pub out: Shared<'a, Y>,
    /// From the start of a row of `out` to that of the next.
    pub stride: usize,
    pub rows: Range<usize>,
    pub panels: Range<usize>,
    /// Into how many parts to cut the sums. More than one needs an `out` that holds unfinished sums exactly.
    pub depths: usize,
    /// The weights that are read after these, if that is known.
    pub then: *const f32,
}

/// A tile's results on their way from the registers to `out`.
#[repr(align(64))]
struct Buffer([f32; MOST_TILE_ROWS * 2 * WIDEST]);

/// What the columns of a panel start at.
#[repr(align(64))]
struct Bias([f32; 2 * WIDEST]);

impl<X: Operands, Y: Element> Work for Block<'_, X, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Block { x, rows, panels, depths, .. } = &self;
        let mut buffer = Buffer([0.0; MOST_TILE_ROWS * 2 * WIDEST]);
        let mut bias = Bias([0.0; 2 * WIDEST]);
        // Rows that far apart meet in one set of the first-level cache, which has twelve ways (Zen 5, Golden Cove) and must hold
        // the weights that come by, too: twelve rows took 1.35 times as long as eight, in phases of a virtual machine; else as long.
        let most = match X::Product::most_rows::<S>() {
            rows if x.stride().is_multiple_of(SET_SPAN) && rows <= S::TILE_ROWS => rows.min(8),
            rows => rows,
        };
        let tiles = rows.len().div_ceil(most);
        let Panels { steps, out, words, pairs, .. } = x.panels();
        let weights = words.as_ptr();
        // What a tile prefetches for each of its STEPs.
        let lines = (STEP * S::PANEL).div_ceil(LINE * tiles * X::STEPS);
        // Results of a panel.
        let width = if *pairs { S::WIDTH } else { S::PANEL };

        for part in 0..*depths {
            // Cut where registers for whole tiles cut it as well, so that the same steps are done in them however long a part is.
            let ks = piece(steps.div_ceil(S::MATRIX_STEPS), *depths, part);
            let ks = ks.start * S::MATRIX_STEPS..(*steps).min(ks.end * S::MATRIX_STEPS);
            let (first, last) = (part == 0, part + 1 == *depths);
            // SAFETY: this task's rows; all of their words are among its parts.
            unsafe { x.take_rows(rows.clone(), ks.clone()) };
            for panel in panels.clone() {
                let at = |panel: usize, k: usize| weights.wrapping_add((panel * steps + k) * S::PANEL);
                // The lines of the next panel, shared among the tiles of this one.
                let (next, lines_per_step) = match (panel + 1 < panels.end, last) {
                    (true, _) => (at(panel + 1, ks.start), lines),
                    (false, false) => (at(panels.start, ks.end), lines),
                    (false, true) if self.then.is_null() => (weights, 0),
                    (false, true) => (self.then.cast(), lines),
                };
                // SAFETY: there are these words in each panel.
                let b = unsafe { x.take_panel(s, at(panel, ks.start), ks.len()) };
                let steps = (X::STEPS * ks.len()).div_ceil(STEP);
                let columns = panel * width..(*out).min((panel + 1) * width);
                if let Some(from) = self.epilogue.bias {
                    match *pairs {
                        true => gated::start::<S>(from, columns.clone(), &mut bias.0),
                        false => {
                            for (to, from) in bias.0.iter_mut().zip(&from[columns.clone()]) {
                                *to = *from;
                            }
                        }
                    }
                    // Small, but it would be waited for.
                    s.prefetch(from.as_ptr().wrapping_add(columns.end));
                    s.prefetch(from.as_ptr().wrapping_add(columns.end + LINE));
                }
                x.expect(s, panel + 1);
                for tile in 0..tiles {
                    let part = piece(rows.len(), tiles, tile);
                    let place =
                        Place { rows: rows.start + part.start..rows.start + part.end, columns: columns.clone() };
                    // SAFETY: this task alone has these rows and columns of out (part of `linear`'s split); the tile
                    // reads rows and a panel that exist, as `linear` has checked the sizes.
                    unsafe {
                        // Floats that fill the panel need no detour, unless something is left to be done with them.
                        let direct = self.floats::<S>(&place);
                        let start = match direct {
                            _ if first => Start { at: bias.0.as_ptr(), stride: 0 },
                            Some(at) => Start { at, stride: self.stride },
                            None => {
                                self.fetch(s, &place, &mut buffer);
                                Start { at: buffer.0.as_ptr(), stride: S::PANEL }
                            }
                        };
                        self.expect(s, &place);
                        let direct = direct.filter(|_| !(last && self.epilogue.follows()));
                        let (c, c_stride) = direct.map_or((buffer.0.as_mut_ptr(), S::PANEL), |at| (at, self.stride));
                        let ahead = next.wrapping_add(tile * lines_per_step * steps * LINE).cast();
                        Tile {
                            product: x.product(place.rows.start, panel, start),
                            a: x.row(place.rows.start, ks.start),
                            a_stride: x.stride(),
                            b,
                            halves_apart: true,
                            depth: X::STEPS * ks.len(),
                            c,
                            c_stride,
                            ahead: Ahead::new(ahead, lines_per_step, steps),
                        }
                        .run_rows(s, part.len());
                        if direct.is_some() {
                            continue;
                        }
                        if last {
                            let used = &mut buffer.0[..place.rows.len() * S::PANEL];
                            let activation = self.epilogue.activation;
                            match (*pairs, X::ROUGH) {
                                (true, rough) => gated::gate(s, activation, rough, used),
                                (false, true) => activation.apply_rough(s, used),
                                (false, false) => activation.apply(s, used),
                            }
                        }
                        self.store(s, &place, &buffer, last);
                    }
                }
            }
        }
    }
}

/// Where a tile lies in `out`.
struct Place {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<X: Operands, Y: Element> Block<'_, X, Y> {
    /// Asks for the lines of `out` and of the residual, so that they are near when the tile is done.
    #[inline(always)]
    fn expect<S: Simd>(&self, s: S, place: &Place) {
        for row in place.rows.clone() {
            let at = row * self.stride + place.columns.start;
            let out = self.out.at(at).cast::<f32>();
            s.prefetch(out);
            s.prefetch(out.wrapping_add(LINE));
            if let Some(residual) = self.epilogue.residual {
                let residual = residual.as_ptr().wrapping_add(at);
                s.prefetch(residual);
                s.prefetch(residual.wrapping_add(LINE));
            }
        }
    }

    /// The place itself, where it is a whole panel of floats.
    #[inline(always)]
    fn floats<S: Simd>(&self, place: &Place) -> Option<*mut f32> {
        let at = place.rows.start * self.stride + place.columns.start;
        if place.columns.len() == S::PANEL { Y::floats(self.out.at(at)) } else { None }
    }

    /// Brings unfinished sums back from `out`.
    ///
    /// # Safety
    /// The place lies in out and is this task's alone.
    #[inline(always)]
    unsafe fn fetch<S: Simd>(&self, s: S, place: &Place, buffer: &mut Buffer) {
        for (r, row) in place.rows.clone().enumerate() {
            for (v, lanes) in vectors(S::WIDTH, place.columns.len()) {
                let from = self.out.at(row * self.stride + place.columns.start + v * S::WIDTH);
                // SAFETY: inside out, by the caller's promise; inside the buffer, as it holds the largest tile.
                unsafe {
                    let sums = Y::load_first(s, from, lanes);
                    s.store(buffer.0.as_mut_ptr().add(r * S::PANEL + v * S::WIDTH), sums);
                }
            }
        }
    }

    /// Writes to `out`, adding the residual if the sums are finished.
    ///
    /// # Safety
    /// As for [`fetch`](Self::fetch).
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, place: &Place, buffer: &Buffer, last: bool) {
        let residual = if last { self.epilogue.residual } else { None };
        let residual = residual.map(<[f32]>::as_ptr);
        for (r, row) in place.rows.clone().enumerate() {
            let at = row * self.stride + place.columns.start;
            let from = buffer.0[r * S::PANEL..].as_ptr();
            // SAFETY: inside the buffer, as it holds the largest tile; inside out and the residual, which is as large, by the
            // caller's promise.
            unsafe {
                if place.columns.len() == S::PANEL {
                    for v in 0..2 {
                        self.store_vector(s, from, residual, at, v, S::WIDTH);
                    }
                } else {
                    for (v, lanes) in vectors(S::WIDTH, place.columns.len()) {
                        self.store_vector(s, from, residual, at, v, lanes);
                    }
                }
            }
        }
    }

    /// Writes the first lanes of vector `v` of a row.
    ///
    /// # Safety
    /// They lie in the row at `from`, and from `at` on in out, this task's alone, and in the residual.
    #[inline(always)]
    unsafe fn store_vector<S: Simd>(
        &self,
        s: S,
        from: *const f32,
        residual: Option<*const f32>,
        at: usize,
        v: usize,
        lanes: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let at = at + v * S::WIDTH;
            let mut result = s.load(from.add(v * S::WIDTH));
            if let Some(residual) = residual {
                let residual = residual.add(at);
                let residual = if lanes == S::WIDTH { s.load(residual) } else { s.load_first(residual, lanes, 0.0) };
                result = s.add(result, residual);
            }
            Y::store_first(s, self.out.at(at), lanes, result);
        }
    }
}

/// The vectors that `columns` ≤ 2 · `width` columns need, and how many lanes of each.
#[inline(always)]
fn vectors(width: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..columns.div_ceil(width)).map(move |v| (v, width.min(columns - v * width)))
}

/// f32 rows and weights.
#[derive(Clone, Copy)]
pub(super) struct F32Operands<'a> {
    pub x: Strided<&'a [f32]>,
    pub panels: &'a Panels,
}

impl Operands for F32Operands<'_> {
    type Product = F32Product;
    const ROUGH: bool = false;

    #[inline(always)]
    fn panels(&self) -> &Panels {
        self.panels
    }

    #[inline(always)]
    fn row(&self, row: usize, k: usize) -> *const f32 {
        self.x.numbers[row * self.x.stride..].as_ptr().wrapping_add(k)
    }

    #[inline(always)]
    fn stride(&self) -> usize {
        self.x.stride
    }

    #[inline(always)]
    fn product(&self, _: usize, _: usize, start: Start) -> F32Product {
        F32Product(start)
    }
}
