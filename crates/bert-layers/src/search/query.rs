//! A search.

use std::ops::Range;

use bert_layers_kernels::{Best, Candidate, Ranking, Team, exact_dot, exact_squared_distance};

use super::{
    IndexPrecision, Metric, Neighbors, SearchOptions, VectorIndex, count, length, no_room, promise, reciprocal, zeros,
};
use crate::{Error, Result, threads};

/// What its memory is called in errors.
const WHAT: &str = "the search";

/// Candidates in float32 beyond those asked for: whose order f32 cannot tell.
const SPARE: usize = 16;

/// The most queries that share a pass.
const QUERIES: usize = 64;

/// Vectors between two looks at the cancel flag; a multiple of the 64 that the kernels want.
const CANCEL_VECTORS: usize = 4096;

/// Bytes of candidates that are collected at a time.
const CANDIDATES: usize = 64 << 20;

impl VectorIndex {
    /// The `k` vectors nearest to each of `queries`, a matrix `[query][dim]`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for k or oversample below 1, and for queries as for [`new`](Self::new); [`Error::OutOfMemory`];
    /// [`Error::Cancelled`].
    pub fn search(&self, queries: &[f32], k: usize, options: &SearchOptions) -> Result<Neighbors> {
        options.cancel.check()?;
        let (size, dim) = (self.size(), self.dim());
        if k == 0 {
            return Err(Error::InvalidInput("k must be at least 1".into()));
        }
        if !(options.oversample >= 1.0 && options.oversample.is_finite()) {
            let given = options.oversample;
            return Err(Error::InvalidInput(format!("oversample must be a number from 1 on, is {given}")));
        }
        let total = count(queries, dim, "queries")?;
        let lengths = queries.chunks_exact(dim).enumerate().map(|(i, query)| length(query, "query", i));
        let lengths = lengths.collect::<Result<Vec<f64>>>()?;
        let k = k.min(size);
        let candidates = match (self.precision, &self.kept) {
            (IndexPrecision::Float32, _) => k + SPARE,
            (_, Some(_)) => (k as f64 * options.oversample).ceil() as usize,
            (_, None) => k,
        };
        let candidates = candidates.min(size);

        let ranges = self.ranges();
        let collected = ranges.iter().map(|range| range.len().min(candidates)).sum::<usize>() * size_of::<Candidate>();
        let together = (CANDIDATES / collected).clamp(1, QUERIES).min(total);
        let result = total.saturating_mul(k).saturating_mul(size_of::<u32>() + size_of::<f32>());
        let _promise = promise(WHAT, result.saturating_add(together * collected))?;
        let mut found = Neighbors { k, indices: zeros(WHAT, total * k)?, scores: zeros(WHAT, total * k)? };
        for first in (0..total).step_by(together) {
            let group = first..total.min(first + together);
            let (queries, lengths) = (&queries[group.start * dim..group.end * dim], &lengths[group.clone()]);
            let parts = self.candidates(queries, lengths, candidates, &ranges, options)?;
            let nearest = threads::map(&self.crew, group.len(), |i| {
                options.cancel.check()?;
                let mut found: Vec<Candidate> = parts.iter().flat_map(|best| best[i].candidates()).collect();
                found.sort_unstable();
                found.truncate(candidates);
                self.score(&mut found, &queries[i * dim..(i + 1) * dim], lengths[i]);
                found.sort_unstable();
                found.truncate(k);
                Ok(found)
            })?;
            for (query, nearest) in group.zip(nearest) {
                for (at, Candidate { score, index }) in (query * k..).zip(nearest) {
                    found.indices[at] = index;
                    // Adding 0 makes a distance of −0 one of 0.
                    found.scores[at] = if self.metric == Metric::Euclidean { 0.0 - score } else { score };
                }
            }
        }
        Ok(found)
    }

    /// The parts that threads go through, a few for each.
    fn ranges(&self) -> Vec<Range<usize>> {
        let size = self.size();
        let spans = size.div_ceil(CANCEL_VECTORS);
        let parts = spans.min(4 * self.crew.threads());
        let start = |part: usize| (spans * part / parts * CANCEL_VECTORS).min(size);
        (0..parts).map(|part| start(part)..start(part + 1)).collect()
    }

    /// For each range, the best for each query.
    fn candidates(
        &self,
        queries: &[f32],
        lengths: &[f64],
        count: usize,
        ranges: &[Range<usize>],
        options: &SearchOptions,
    ) -> Result<Vec<Vec<Best>>> {
        let queries = match self.metric {
            // Its length does not change a query's order, but may leave the range of f32.
            Metric::Cosine => self.codes.queries(&unit_vectors(queries, lengths)?),
            Metric::Dot | Metric::Euclidean => self.codes.queries(queries),
        };
        let queries = queries.map_err(|e| no_room(WHAT, e.bytes))?;
        let scales = match (self.metric, self.precision) {
            (Metric::Euclidean, IndexPrecision::Float32) => vec![-1.0; lengths.len()], // sums are squared distances
            (Metric::Cosine, IndexPrecision::Binary) => vec![1.0; lengths.len()],
            _ => queries.scales().to_vec(),
        };
        let ranking = Ranking { scales: &scales, factors: self.factors.as_deref(), biases: self.biases.as_deref() };
        threads::map(&self.crew, ranges.len(), |part| {
            let range = &ranges[part];
            let best = lengths.iter().map(|_| Best::new(count.min(range.len())).map_err(|e| no_room(WHAT, e.bytes)));
            let mut best = best.collect::<Result<Vec<Best>>>()?;
            for start in range.clone().step_by(CANCEL_VECTORS) {
                options.cancel.check()?;
                let span = start..range.end.min(start + CANCEL_VECTORS);
                self.codes.search(span, &queries, ranking, &mut best);
            }
            Ok(best)
        })
    }

    /// Replaces scores by what the metric says, for distances their opposite: exactly, where there are the vectors.
    fn score(&self, candidates: &mut [Candidate], query: &[f32], length: f64) {
        let vectors = match self.precision {
            IndexPrecision::Float32 => Some(&self.codes),
            IndexPrecision::Int8 | IndexPrecision::Binary => self.kept.as_ref(),
        };
        for Candidate { score, index } in candidates {
            let vector = vectors.map(|vectors| vectors.vector(*index as usize));
            let exact = match (self.metric, vector) {
                (Metric::Cosine, Some(vector)) => {
                    let lengths = reciprocal(length) * reciprocal(exact_dot(vector, vector).sqrt());
                    (exact_dot(vector, query) * lengths).clamp(-1.0, 1.0)
                }
                (Metric::Dot, Some(vector)) => exact_dot(vector, query),
                (Metric::Euclidean, Some(vector)) => -exact_squared_distance(vector, query).sqrt(),
                (Metric::Cosine, None) => f64::from(*score).clamp(-1.0, 1.0),
                (Metric::Dot, None) => f64::from(*score),
                (Metric::Euclidean, None) => -(length * length - f64::from(*score)).max(0.0).sqrt(),
            };
            *score = exact as f32 + 0.0; // −0 is as good as 0
        }
    }
}

/// Vectors of length 1; zeros stay zeros.
fn unit_vectors(vectors: &[f32], lengths: &[f64]) -> Result<Vec<f32>> {
    let mut units = zeros(WHAT, vectors.len())?;
    let dim = vectors.len() / lengths.len();
    for ((from, to), &length) in vectors.chunks_exact(dim).zip(units.chunks_exact_mut(dim)).zip(lengths) {
        let scale = reciprocal(length);
        from.iter().zip(to).for_each(|(&x, to)| *to = (f64::from(x) * scale) as f32);
    }
    Ok(units)
}
