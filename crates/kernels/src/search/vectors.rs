//! A matrix of vectors as a search reads it, and queries in the same precision.

use std::ops::Range;

use super::best::Best;
use super::binary::{self, Binary, GROUP};
use super::float32::Float32;
use super::int8::{self, Int8, Layout};
use super::walk::{BLOCK, Ranking, Walk};
use crate::Kernels;
use crate::memory::{Aligned, AllocError};
use crate::quantized::quantize_weights;
use crate::simd::{Simd, Work};
use crate::team::{Shared, Team, run_rows};

/// How the numbers of vectors are stored, and what a search sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchPrecision {
    /// f32; products.
    Products,
    /// f32; squared differences.
    SquaredDistances,
    /// Whole numbers within ±127; products.
    Int8,
    /// Signs; the cosine that they tell of, cos(π · places that differ / places).
    Binary,
}

/// Vectors of one length, stored for one instruction set.
///
/// A vector takes 4 bytes a place in f32, 1 byte a place in int8, rounded up to 64 places (fewer where vectors of the instruction
/// set are shorter), and in binary 1 bit a place, rounded up to 64; a binary matrix is rounded up to 8 vectors.
pub struct SearchVectors {
    kernels: Kernels,
    precision: SearchPrecision,
    words: Aligned,
    len: usize,
    dim: usize,
    /// Of binary vectors.
    cosines: Vec<f32>,
}

/// Queries in the precision of the vectors that they are for.
pub struct SearchQueries {
    /// In f32 and int8.
    words: Vec<u32>,
    /// In binary.
    signs: Vec<u64>,
    /// What the lanes of int8 sums start at.
    starts: Vec<u32>,
    /// See [`scales`](Self::scales).
    scales: Vec<f32>,
}

impl SearchQueries {
    /// What each query's sums are to be multiplied with, beside the vector's own scale, to be near what they are of the numbers
    /// themselves.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
}

impl SearchVectors {
    /// Room for `len` vectors of `dim` places, all 0.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    pub fn new(kernels: Kernels, precision: SearchPrecision, len: usize, dim: usize) -> Result<Self, AllocError> {
        let rows = if precision == SearchPrecision::Binary { len.next_multiple_of(GROUP) } else { len };
        let words = rows.checked_mul(words_of(kernels, precision, dim)).ok_or(AllocError { bytes: usize::MAX })?;
        let cosines = if precision == SearchPrecision::Binary { binary::cosines(dim) } else { Vec::new() };
        Ok(Self { kernels, precision, words: Aligned::try_zeroed(words)?, len, dim, cosines })
    }

    /// How many vectors.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.words.bytes()
    }

    /// A vector as it was given.
    ///
    /// # Panics
    /// Unless the precision is one of f32 and there is such a vector.
    pub fn vector(&self, index: usize) -> &[f32] {
        &self.floats()[index * self.dim..(index + 1) * self.dim]
    }

    /// Stores all vectors, `x` of `len` · `dim` finite numbers, and the scale of each in `scales`: what sums of it are to be
    /// multiplied with, 1 in f32.
    ///
    /// # Panics
    /// If the sizes do not fit each other.
    pub fn fill(&mut self, team: &dyn Team, x: &[f32], scales: &mut [f32]) {
        assert!(x.len() == self.len * self.dim && scales.len() == self.len, "search: sizes");
        let (kernels, precision, dim) = (self.kernels, self.precision, self.dim);
        let stride = words_of(kernels, precision, dim);
        // Whole groups of binary vectors, so that no two tasks write to the same.
        let groups = self.len.div_ceil(GROUP);
        let len = self.len;
        let (words, scales) = (Shared::new(self.words.as_mut_slice()), Shared::new(scales));
        run_rows(team, groups, 64, |part| {
            let rows = part.start * GROUP..len.min(part.end * GROUP);
            let padded = if precision == SearchPrecision::Binary { part.end * GROUP } else { rows.end };
            // SAFETY: pieces do not overlap, and neither do their words.
            let (to, scales) = unsafe { (words.part(rows.start * stride..padded * stride), scales.part(rows.clone())) };
            store(kernels, precision, &x[rows.start * dim..rows.end * dim], dim, to, scales);
        });
    }

    /// Queries for these vectors, of `dim` finite numbers each.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for them.
    ///
    /// # Panics
    /// Unless `x` is a whole number of vectors.
    pub fn queries(&self, x: &[f32]) -> Result<SearchQueries, AllocError> {
        let Self { kernels, precision, dim, .. } = *self;
        assert!(dim > 0 && x.len().is_multiple_of(dim), "search: queries of {dim} in {}", x.len());
        let count = x.len() / dim;
        let mut queries =
            SearchQueries { words: Vec::new(), signs: Vec::new(), starts: Vec::new(), scales: zeros(count)? };
        let SearchQueries { words, signs, starts, scales } = &mut queries;
        match precision {
            SearchPrecision::Products | SearchPrecision::SquaredDistances => {
                *words = zeros(x.len())?;
                store(kernels, precision, x, dim, words, scales);
            }
            SearchPrecision::Int8 => {
                let (width, offset) = kernels.vectorize_int8(Layout);
                let stride = words_of(kernels, precision, dim);
                *words = zeros(count * stride)?;
                *starts = zeros(count * width)?;
                kernels.vectorize_int8(Quantize { x, dim, to: words, scales, offset: 0 });
                for (query, to) in words.chunks_exact(stride).zip(starts.chunks_exact_mut(width)) {
                    int8::starts(query, offset, to);
                }
            }
            SearchPrecision::Binary => {
                // Not in groups: a query is read alone.
                let stride = binary::words(dim);
                *signs = zeros(count * stride)?;
                for ((x, to), scale) in x.chunks_exact(dim).zip(signs.chunks_exact_mut(stride)).zip(scales) {
                    to.iter_mut().enumerate().for_each(|(w, to)| *to = binary::word(x, w));
                    *scale = binary::scale(x);
                }
            }
        }
        Ok(queries)
    }

    /// Offers the vectors of a range to each query's best.
    ///
    /// # Panics
    /// Unless there are such vectors, of which the first is a multiple of 64, as many `best` and scales as queries, and a factor
    /// and a bias for each vector.
    pub fn search(&self, range: Range<usize>, queries: &SearchQueries, ranking: Ranking<'_>, best: &mut [Best]) {
        assert!(range.start.is_multiple_of(BLOCK) && range.end <= self.len, "search: vectors {range:?}");
        assert!(best.len() == queries.scales.len() && best.len() == ranking.scales.len(), "search: queries");
        for column in [ranking.factors, ranking.biases].into_iter().flatten() {
            assert_eq!(column.len(), self.len, "search: ranking");
        }
        let Self { kernels, dim, .. } = *self;
        match self.precision {
            SearchPrecision::Products => {
                let sums = Float32::<false> { vectors: self.floats(), queries: floats(&queries.words), dim };
                kernels.vectorize(Walk { sums, range, ranking, best });
            }
            SearchPrecision::SquaredDistances => {
                let sums = Float32::<true> { vectors: self.floats(), queries: floats(&queries.words), dim };
                kernels.vectorize(Walk { sums, range, ranking, best });
            }
            SearchPrecision::Int8 => {
                let words = words_of(kernels, self.precision, dim);
                let sums = Int8 { vectors: self.words(), queries: &queries.words, starts: &queries.starts, words };
                kernels.vectorize_int8(Walk { sums, range, ranking, best });
            }
            SearchPrecision::Binary => {
                // SAFETY: u64 may have any bits.
                let (before, vectors, after) = unsafe { self.words().align_to() };
                assert!(before.is_empty() && after.is_empty(), "search: words on a cache line, two a word of 64 bits");
                let sums = Binary { vectors, queries: &queries.signs, cosines: &self.cosines };
                kernels.vectorize(Walk { sums, range, ranking, best });
            }
        }
    }

    fn words(&self) -> &[u32] {
        // SAFETY: `Aligned` has as many words at that address for as long as it lives.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.words.bytes() / size_of::<u32>()) }
    }

    fn floats(&self) -> &[f32] {
        assert!(matches!(self.precision, SearchPrecision::Products | SearchPrecision::SquaredDistances));
        floats(self.words())
    }
}

impl std::fmt::Debug for SearchVectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { precision, len, dim, .. } = self;
        write!(f, "SearchVectors({len} × {dim}, {precision:?})")
    }
}

/// Words of 32 bits that a vector takes.
fn words_of(kernels: Kernels, precision: SearchPrecision, dim: usize) -> usize {
    match precision {
        SearchPrecision::Products | SearchPrecision::SquaredDistances => dim,
        SearchPrecision::Int8 => dim.div_ceil(4).next_multiple_of(kernels.vectorize_int8(Layout).0),
        SearchPrecision::Binary => 2 * binary::words(dim),
    }
}

/// Stores vectors of a matrix, whole groups of them.
fn store(kernels: Kernels, precision: SearchPrecision, x: &[f32], dim: usize, to: &mut [u32], scales: &mut [f32]) {
    match precision {
        SearchPrecision::Products | SearchPrecision::SquaredDistances => {
            // SAFETY: both are 32 bits of any value, aligned alike.
            let to = unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<f32>(), to.len()) };
            to.copy_from_slice(x);
            scales.fill(1.0);
        }
        SearchPrecision::Int8 => {
            let offset = kernels.vectorize_int8(Layout).1;
            kernels.vectorize_int8(Quantize { x, dim, to, scales, offset });
        }
        SearchPrecision::Binary => {
            // SAFETY: u64 may have any bits.
            let (before, to, after) = unsafe { to.align_to_mut() };
            assert!(before.is_empty() && after.is_empty(), "search: words on a cache line, two a word of 64 bits");
            binary::store(x, dim, to, scales);
        }
    }
}

/// Rounds vectors to whole multiples of their scales.
struct Quantize<'a> {
    x: &'a [f32],
    dim: usize,
    to: &'a mut [u32],
    scales: &'a mut [f32],
    offset: u8,
}

impl Work for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Quantize { x, dim, to, scales, offset } = self;
        let stride = dim.div_ceil(4).next_multiple_of(S::WIDTH);
        let all_count = vec![1.0; dim];
        for ((x, to), scale) in x.chunks_exact(dim).zip(to.chunks_exact_mut(stride)).zip(scales) {
            // SAFETY: words are four bytes each, of any value.
            let bytes = unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<u8>(), size_of_val(to)) };
            *scale = quantize_weights(s, x, &all_count, bytes);
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(offset));
        }
    }
}

fn floats(words: &[u32]) -> &[f32] {
    // SAFETY: both are 32 bits of any value, aligned alike.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
}

fn zeros<T: Copy + Default>(len: usize) -> Result<Vec<T>, AllocError> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| AllocError { bytes: len.saturating_mul(size_of::<T>()) })?;
    zeros.resize(len, T::default());
    Ok(zeros)
}
