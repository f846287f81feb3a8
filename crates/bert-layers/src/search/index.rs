//! The matrix, copied once.

use std::sync::Arc;

use bert_layers_kernels::{Crew, Kernels, SearchPrecision, SearchVectors, Team};

use super::{IndexOptions, IndexPrecision, Metric, count, length, no_room, promise, reciprocal, zeros};
use crate::{Error, Result, threads};

/// What its memory is called in errors.
const WHAT: &str = "the index";

/// From this size on, copying is worth several threads.
const LARGE: usize = 1 << 20;

/// Vectors to be searched: a copy of a matrix `[vector][dim]`.
///
/// A search goes through all of them. In float32 it finds the true nearest ones: candidates by sums in f32, a few more than asked
/// for, which are then scored in f64. In int8 and binary it goes through a fraction of the memory for candidates, `oversample`
/// times as many as asked for, which are scored in the same way with the vectors in f32; without these
/// ([`rescore`](IndexOptions::rescore) false) a score is what the codes say. A search gives the same bits on any number of threads.
///
/// Beside the codes of its [`IndexPrecision`], a vector takes 4 bytes in int8 and, for the cosine in float32 and for the product in binary;
/// for the Euclidean distance 8 in int8 and binary. With `rescore` it takes 4 bytes a place more.
///
/// ```
/// use bert_layers::{IndexOptions, SearchOptions, VectorIndex};
///
/// let index = VectorIndex::new(&[1.0, 0.0, /* */ 0.0, 2.0, /* */ 3.0, 3.0], 2, &IndexOptions::default())?;
/// let found = index.search(&[0.0, 1.0], 2, &SearchOptions::default())?;
/// assert_eq!(found.indices, [1, 2]);
/// assert_eq!(found.scores, [1.0, 0.5f32.sqrt()]);
/// # Ok::<(), bert_layers::Error>(())
/// ```
pub struct VectorIndex {
    pub(super) metric: Metric,
    pub(super) precision: IndexPrecision,
    /// What a search goes through.
    pub(super) codes: SearchVectors,
    /// The vectors in f32, where `codes` are something else.
    pub(super) kept: Option<SearchVectors>,
    /// What each vector's sums are multiplied with; none: 1.
    pub(super) factors: Option<Vec<f32>>,
    /// What is added to them; none: 0.
    pub(super) biases: Option<Vec<f32>>,
    pub(super) crew: Arc<Crew>,
}

impl VectorIndex {
    /// Copies `vectors`, a matrix `[vector][dim]`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a matrix that is empty, is no whole number of vectors, or holds what is not finite or too large
    /// to be squared in f32; [`Error::OutOfMemory`].
    pub fn new(vectors: &[f32], dim: usize, options: &IndexOptions) -> Result<Self> {
        let IndexOptions { metric, precision, rescore, .. } = *options;
        let size = count(vectors, dim, "vectors")?;
        if size > u32::MAX as usize {
            return Err(Error::InvalidInput(format!("{size} vectors are too many for one index, {} fit", u32::MAX)));
        }
        let crew = threads::chosen_crew(options.threads)?;
        let kernels = Kernels::chosen().map_err(|e| Error::DeviceUnavailable(e.to_string()))?;
        let floats = match metric {
            Metric::Euclidean => SearchPrecision::SquaredDistances,
            Metric::Cosine | Metric::Dot => SearchPrecision::Products,
        };
        let stored = match precision {
            IndexPrecision::Float32 => floats,
            IndexPrecision::Int8 => SearchPrecision::Int8,
            IndexPrecision::Binary => SearchPrecision::Binary,
        };
        let keeps = rescore && precision != IndexPrecision::Float32;
        let new = |precision| SearchVectors::new(kernels, precision, size, dim).map_err(|e| no_room(WHAT, e.bytes));
        // Nothing of this is touched yet, so it is not memory yet.
        let (mut codes, mut kept) = (new(stored)?, if keeps { Some(new(floats)?) } else { None });
        let columns = 2 * size * size_of::<f32>();
        let _promise = promise(WHAT, codes.bytes() + kept.as_ref().map_or(0, SearchVectors::bytes) + columns)?;

        // Threads of its own for this moment: the crew may be busy with something long, and who calls waits here.
        let copiers = if vectors.len() < LARGE { 1 } else { crew.threads() };
        let copiers = Crew::start(copiers).map_err(|e| Error::Internal(format!("cannot start threads: {e}")))?;
        let lengths = lengths(&copiers, vectors, dim)?;
        let mut scales = zeros(WHAT, size)?;
        if let Some(kept) = &mut kept {
            kept.fill(&copiers, vectors, &mut scales);
        }
        codes.fill(&copiers, vectors, &mut scales);
        let (factors, biases) = columns_of(metric, precision, scales, lengths);
        Ok(Self { metric, precision, codes, kept, factors, biases, crew })
    }

    /// How many vectors there are.
    pub fn size(&self) -> usize {
        self.codes.len()
    }

    /// Their length.
    pub fn dim(&self) -> usize {
        self.codes.dim()
    }

    /// What is near.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        let columns = [&self.factors, &self.biases].map(|column| column.as_ref().map_or(0, |c| size_of_val(&c[..])));
        self.codes.bytes() + self.kept.as_ref().map_or(0, SearchVectors::bytes) + columns.iter().sum::<usize>()
    }

    /// How many threads search.
    pub fn threads(&self) -> usize {
        self.crew.threads()
    }
}

impl std::fmt::Debug for VectorIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { metric, codes, kept, .. } = self;
        f.debug_struct("VectorIndex")
            .field("metric", metric)
            .field("codes", codes)
            .field("rescores", &kept.is_some())
            .finish_non_exhaustive()
    }
}

/// The length of each vector, or the first error.
fn lengths(crew: &Crew, vectors: &[f32], dim: usize) -> Result<Vec<f32>> {
    let size = vectors.len() / dim;
    let pieces = size.min(4 * crew.threads());
    let parts = threads::map(crew, pieces, |piece| {
        let (start, end) = (size * piece / pieces, size * (piece + 1) / pieces);
        let mut lengths = zeros(WHAT, end - start)?;
        for (index, to) in (start..end).zip(&mut lengths) {
            *to = length(&vectors[index * dim..(index + 1) * dim], "vector", index)? as f32;
        }
        Ok(lengths)
    })?;
    Ok(parts.concat())
}

/// Factors and biases that make scores, the higher the better, of sums: see `bert_layers_kernels::Ranking`.
fn columns_of(
    metric: Metric,
    precision: IndexPrecision,
    mut scales: Vec<f32>,
    mut lengths: Vec<f32>,
) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
    match (metric, precision) {
        (Metric::Cosine, IndexPrecision::Binary) => (None, None), // the cosine itself
        (Metric::Cosine, _) => {
            let pairs = scales.iter_mut().zip(&lengths);
            pairs.for_each(|(scale, &length)| *scale *= reciprocal(f64::from(length)) as f32);
            (Some(scales), None)
        }
        (_, IndexPrecision::Float32) => (None, None),
        (Metric::Dot, _) => (Some(scales), None),
        // −‖a − b‖² = 2 a·b − ‖a‖² − ‖b‖², of which the last is the same for all.
        (Metric::Euclidean, _) => {
            scales.iter_mut().for_each(|scale| *scale *= 2.0);
            lengths.iter_mut().for_each(|length| *length = -(*length * *length));
            (Some(scales), Some(lengths))
        }
    }
}
