//! The vector index against a plain loop in f64.

use bert_layers::{Cancel, IndexOptions, IndexPrecision, Metric, Neighbors, SearchOptions, VectorIndex};
use proptest::prelude::*;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclidean];
const PRECISIONS: [IndexPrecision; 3] = [IndexPrecision::Float32, IndexPrecision::Int8, IndexPrecision::Binary];

fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn index(vectors: &[f32], dim: usize, metric: Metric, precision: IndexPrecision, rescore: bool) -> VectorIndex {
    let options = IndexOptions { metric, precision, rescore, threads: Some(1) };
    VectorIndex::new(vectors, dim, &options).expect("sound vectors")
}

fn similarity(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: fn(f64, f64) -> f64| -> f64 { a.iter().zip(b).map(|(&a, &b)| f(a.into(), b.into())).sum() };
    let dot = sum(|a, b| a * b);
    match metric {
        Metric::Cosine => {
            let lengths = (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt();
            if lengths == 0.0 { 0.0 } else { dot / lengths }
        }
        Metric::Dot => dot,
        Metric::Euclidean => sum(|a, b| (a - b) * (a - b)).sqrt(),
    }
}

/// All vectors, nearest first.
fn plain(vectors: &[f32], dim: usize, metric: Metric, query: &[f32]) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> = (0..).zip(vectors.chunks(dim).map(|v| similarity(metric, v, query))).collect();
    let sign = if metric == Metric::Euclidean { 1.0 } else { -1.0 };
    all.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then(a.0.cmp(&b.0)));
    all
}

fn search(index: &VectorIndex, queries: &[f32], k: usize) -> Neighbors {
    index.search(queries, k, &SearchOptions::default()).expect("sound queries")
}

#[test]
fn float32_is_a_plain_loop() {
    for dim in [1, 5, 48, 100] {
        let (vectors, queries) = (noise(1, 9000 * dim), noise(2, 70 * dim));
        for metric in METRICS {
            let index = index(&vectors, dim, metric, IndexPrecision::Float32, true);
            let found = search(&index, &queries, 10);
            assert_eq!((found.k, found.indices.len(), found.scores.len()), (10, 700, 700));
            for (query, (indices, scores)) in
                queries.chunks(dim).zip(found.indices.chunks(10).zip(found.scores.chunks(10)))
            {
                for ((&index, &score), (i, s)) in indices.iter().zip(scores).zip(plain(&vectors, dim, metric, query)) {
                    assert!((f64::from(score) - s).abs() < 1e-6, "{metric:?} {dim}: {score} for {s}");
                    // In one dimension all cosines are ±1.
                    let tied = (similarity(metric, &vectors[index as usize * dim..][..dim], query) - s).abs() < 1e-7;
                    assert!(index == i || tied, "{metric:?} {dim}: {index} for {i}");
                }
            }
        }
    }
}

#[test]
fn small_codes_with_rescoring_find_most_and_score_exactly() {
    let dim = 96;
    let (vectors, queries) = (noise(3, 5000 * dim), noise(4, 40 * dim));
    for metric in METRICS {
        let exact = search(&index(&vectors, dim, metric, IndexPrecision::Float32, true), &queries, 10);
        // Noise of few dimensions is the hardest there is for signs; by chance 40 candidates of 5,000 would hit 0.008.
        for (precision, least) in [(IndexPrecision::Int8, 0.995), (IndexPrecision::Binary, 0.4)] {
            let found = search(&index(&vectors, dim, metric, precision, true), &queries, 10);
            let mut hits = 0;
            for q in 0..40 {
                let truth = &exact.indices[q * 10..(q + 1) * 10];
                hits += found.indices[q * 10..(q + 1) * 10].iter().filter(|i| truth.contains(i)).count();
                for at in q * 10..(q + 1) * 10 {
                    let vector = &vectors[found.indices[at] as usize * dim..][..dim];
                    let want = similarity(metric, vector, &queries[q * dim..(q + 1) * dim]);
                    assert!((f64::from(found.scores[at]) - want).abs() < 1e-6, "{metric:?} {precision:?}");
                }
            }
            let recall = hits as f64 / 400.0;
            assert!(recall >= least, "{metric:?} {precision:?}: recall {recall}");
        }
    }
}

/// Without the vectors, a score is an estimate: of int8 a close one, of signs one with a standard deviation of about π/(2√dim).
#[test]
fn small_codes_alone_score_about_right() {
    let dim = 200;
    let (vectors, queries) = (noise(5, 300 * dim), noise(6, 5 * dim));
    for metric in METRICS {
        for (precision, bound) in [(IndexPrecision::Int8, 0.002), (IndexPrecision::Binary, 0.12)] {
            let small = index(&vectors, dim, metric, precision, false);
            let found = search(&small, &queries, 300);
            let mut total = 0.0;
            for (q, query) in queries.chunks(dim).enumerate() {
                for at in q * 300..(q + 1) * 300 {
                    let vector = &vectors[found.indices[at] as usize * dim..][..dim];
                    let want = similarity(metric, vector, query);
                    // Relative to what a score may be: lengths are about √(200/3).
                    total += (f64::from(found.scores[at]) - want).abs() / [1.0, 67.0, 8.2][metric as usize];
                }
                let order = |a: &f32, b: &f32| if metric == Metric::Euclidean { a <= b } else { a >= b };
                assert!(found.scores[q * 300..(q + 1) * 300].is_sorted_by(order));
            }
            let error = total / 1500.0;
            assert!(error < bound, "{metric:?} {precision:?}: mean error {error}");
        }
    }
}

#[test]
fn memory_is_as_documented() {
    let vectors = noise(7, 1000 * 384);
    let bytes = |metric, precision, rescore| index(&vectors, 384, metric, precision, rescore).bytes();
    assert_eq!(bytes(Metric::Cosine, IndexPrecision::Float32, true), 1000 * (4 * 384 + 4));
    assert_eq!(bytes(Metric::Euclidean, IndexPrecision::Float32, true), 1000 * 4 * 384);
    assert_eq!(bytes(Metric::Cosine, IndexPrecision::Int8, false), 1000 * (384 + 4));
    assert_eq!(bytes(Metric::Cosine, IndexPrecision::Int8, true), 1000 * (384 + 4 + 4 * 384));
    assert_eq!(bytes(Metric::Cosine, IndexPrecision::Binary, false), 1000 * 48);
    assert_eq!(bytes(Metric::Dot, IndexPrecision::Binary, false), 1000 * (48 + 4));
    assert_eq!(bytes(Metric::Euclidean, IndexPrecision::Binary, false), 1000 * (48 + 8));
}

#[test]
fn zeros_ties_and_tiny_vectors() {
    let vectors = [0.0, 0.0, 1.0, 2.0, -1.0, 0.0, 3.0, 6.0, 1e-30, 2e-30];
    let cosine = index(&vectors, 2, Metric::Cosine, IndexPrecision::Float32, true);
    let found = search(&cosine, &[1.0, 2.0], 9);
    assert_eq!(found.k, 5);
    assert_eq!(found.indices, [1, 3, 4, 0, 2], "of equal scores the lower index; a zero vector scores 0");
    assert_eq!(found.scores[..4], [1.0, 1.0, 1.0, 0.0]);
    let nothing = search(&cosine, &[0.0, 0.0], 3);
    assert_eq!((nothing.indices, nothing.scores), (vec![0, 1, 2], vec![0.0; 3]));
    let distance = search(&index(&vectors, 2, Metric::Euclidean, IndexPrecision::Float32, true), &[0.0, 0.0], 2);
    assert_eq!(distance.indices, [0, 4]);
    assert!(distance.scores[0].is_sign_positive());
}

#[test]
fn vectors_that_are_accepted_have_finite_distances() {
    let dim = 37;
    let mut accepted = 0;
    for (seed, part) in (0..40).flat_map(|seed| [4.0, 6.0, 8.0].map(|part| (seed, part))) {
        // The query is on the other side.
        let vector = noise(seed, dim);
        let length = (f64::from(f32::MAX / part) * 0.999_999).sqrt();
        let longer = length / vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let vector: Vec<f32> = vector.iter().map(|&x| (f64::from(x) * longer) as f32).collect();
        let query: Vec<f32> = vector.iter().map(|x| -x).collect();
        let options = IndexOptions { metric: Metric::Euclidean, ..IndexOptions::default() };
        let Ok(index) = VectorIndex::new(&[vector.as_slice(), &vector].concat(), dim, &options) else { continue };
        accepted += 1;
        let found = search(&index, &query, 2);
        assert_eq!(found.indices, [0, 1], "1/{part} of the largest float");
        assert!(found.scores.iter().all(|&score| (f64::from(score) / (2.0 * length) - 1.0).abs() < 1e-5));
    }
    assert!(accepted >= 40, "an eighth of the largest float is accepted");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |vectors: &[f32], dim: usize, message: &str| {
        let error = VectorIndex::new(vectors, dim, &IndexOptions::default()).expect_err(message);
        assert_eq!(error.code(), "ERR_INVALID_INPUT");
        assert!(error.to_string().contains(message), "{error}");
    };
    refused(&[], 4, "at least one");
    refused(&[1.0], 0, "at least one");
    refused(&[1.0; 7], 2, "7 numbers");
    refused(&[1.0, 2.0, 3.0, f32::NAN], 2, "vector 1 has NaN at position 1");
    refused(&[1.0, 2.0, f32::INFINITY, 0.0], 2, "vector 1 has Infinity at position 0");
    refused(&[1e30, 2.0], 2, "vector 0 has numbers too large");

    let index = index(&[1.0, 2.0], 2, Metric::Dot, IndexPrecision::Float32, true);
    let options = SearchOptions::default();
    let code = |queries: &[f32], k, options: &SearchOptions| index.search(queries, k, options).map_err(|e| e.code());
    assert_eq!(code(&[1.0, 2.0], 0, &options), Err("ERR_INVALID_INPUT"));
    assert_eq!(code(&[1.0, 2.0, 3.0], 1, &options), Err("ERR_INVALID_INPUT"));
    assert_eq!(code(&[], 1, &options), Err("ERR_INVALID_INPUT"));
    assert_eq!(code(&[1.0, f32::NAN], 1, &options), Err("ERR_INVALID_INPUT"));
    for oversample in [0.5, f64::NAN, f64::INFINITY] {
        let options = SearchOptions { oversample, ..SearchOptions::default() };
        assert_eq!(code(&[1.0, 2.0], 1, &options), Err("ERR_INVALID_INPUT"));
    }
    let options = SearchOptions { cancel: Cancel::new(), ..options };
    options.cancel.cancel();
    assert_eq!(code(&[1.0, 2.0], 1, &options), Err("ERR_CANCELLED"));
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 12, failure_persistence: None, ..Default::default() })]

    /// Neither threads nor other queries change a bit.
    #[test]
    fn a_search_is_the_same_on_any_number_of_threads(
        size in 1usize..10_000, dim in 1usize..24, count in 1usize..80, k in 1usize..50, threads in 2usize..6, seed: u64,
    ) {
        let (vectors, queries) = (noise(seed, size * dim), noise(!seed, count * dim));
        for metric in METRICS {
            for precision in PRECISIONS {
                let alone = index(&vectors, dim, metric, precision, true);
                let options = IndexOptions { metric, precision, threads: Some(threads), ..IndexOptions::default() };
                let together = VectorIndex::new(&vectors, dim, &options).expect("sound vectors");
                let found = search(&alone, &queries, k);
                prop_assert_eq!(&search(&together, &queries, k), &found);
                let last = search(&together, &queries[(count - 1) * dim..], k);
                prop_assert_eq!(&last.indices[..], &found.indices[(count - 1) * found.k..]);
                prop_assert_eq!(&last.scores[..], &found.scores[(count - 1) * found.k..]);
            }
        }
    }
}
