//! Search against plain code in f64 and in whole numbers, and its promises: no way of cutting the work changes a bit, and of
//! equal scores the lower index wins.

#![allow(clippy::single_range_in_vec_init)] // one range

mod common;

use std::ops::Range;

use bert_layers_kernels::{
    Best, Candidate, Kernels, Ranking, SearchPrecision, SearchVectors, Solo, exact_dot, exact_squared_distance,
};
use common::{Threads, all, noise};
use proptest::prelude::*;

const PRECISIONS: [SearchPrecision; 4] =
    [SearchPrecision::Products, SearchPrecision::SquaredDistances, SearchPrecision::Int8, SearchPrecision::Binary];

struct Matrix {
    vectors: SearchVectors,
    scales: Vec<f32>,
}

fn matrix(kernels: Kernels, precision: SearchPrecision, x: &[f32], dim: usize) -> Matrix {
    let len = x.len() / dim;
    let mut vectors = SearchVectors::new(kernels, precision, len, dim).expect("memory");
    let mut scales = vec![f32::NAN; len];
    vectors.fill(&Threads(3), x, &mut scales);
    Matrix { vectors, scales }
}

/// Best first. Ranges are searched one after the other, as several threads would.
fn search(matrix: &Matrix, ranges: &[Range<usize>], queries: &[f32], k: usize) -> Vec<Vec<Candidate>> {
    let queries = matrix.vectors.queries(queries).expect("memory");
    let ranking = Ranking { scales: queries.scales(), factors: Some(&matrix.scales), biases: None };
    let mut found: Vec<Vec<Candidate>> = queries.scales().iter().map(|_| Vec::new()).collect();
    for range in ranges {
        let mut best: Vec<Best> = found.iter().map(|_| Best::new(k).expect("memory")).collect();
        matrix.vectors.search(range.clone(), &queries, ranking, &mut best);
        found.iter_mut().zip(&best).for_each(|(found, best)| found.extend(best.candidates()));
    }
    for found in &mut found {
        found.sort();
        found.truncate(k);
    }
    found
}

/// What the scores mean, plainly.
fn score(precision: SearchPrecision, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match precision {
        SearchPrecision::Products => pairs().map(|(a, b)| a * b).sum(),
        SearchPrecision::SquaredDistances => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        SearchPrecision::Int8 => {
            let scale = |x: &[f32]| f64::from(x.iter().fold(0f32, |most, x| most.max(x.abs())) / 127.0);
            let (a_scale, b_scale) = (scale(a), scale(b));
            pairs().map(|(a, b)| (a / a_scale).round() * (b / b_scale).round()).sum::<f64>() * a_scale * b_scale
        }
        SearchPrecision::Binary => {
            let length = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let differ = pairs().filter(|&(a, b)| (a > 0.0) != (b > 0.0)).count();
            (std::f64::consts::PI * differ as f64 / a.len() as f64).cos() * length(a) * length(b)
        }
    }
}

#[test]
fn every_score_is_what_plain_code_gives() {
    for kernels in all() {
        for (dim, len) in [(1, 3), (7, 70), (64, 65), (100, 9), (384, 130), (1030, 20)] {
            let (x, queries) = (noise(1, len * dim), noise(2, 7 * dim));
            for precision in PRECISIONS {
                let matrix = matrix(kernels, precision, &x, dim);
                let found = search(&matrix, &[0..len], &queries, len);
                for (query, found) in queries.chunks(dim).zip(found) {
                    assert_eq!(found.len(), len);
                    for Candidate { score: got, index } in found {
                        let vector = &x[index as usize * dim..(index as usize + 1) * dim];
                        let want = score(precision, vector, query);
                        let size: f64 =
                            vector.iter().zip(query).map(|(a, b)| f64::from(a.abs() + b.abs()).powi(2)).sum();
                        // A number may lie so near the middle of two levels that it is rounded otherwise.
                        let bound = if precision == SearchPrecision::Int8 { 0.1 } else { 1e-6 * size };
                        let error = (f64::from(got) - want).abs();
                        assert!(error < bound, "{} {precision:?} {dim}: {got} for {want}", kernels.name());
                    }
                }
            }
        }
    }
}

/// Whole numbers leave nothing to round.
#[test]
fn int8_and_binary_are_the_same_on_every_instruction_set() {
    let (dim, len) = (384, 200);
    let (x, queries) = (noise(3, len * dim), noise(4, 5 * dim));
    for precision in [SearchPrecision::Int8, SearchPrecision::Binary] {
        let portable = search(&matrix(Kernels::portable(), precision, &x, dim), &[0..len], &queries, 50);
        for kernels in all() {
            let found = search(&matrix(kernels, precision, &x, dim), &[0..len], &queries, 50);
            assert_eq!(found, portable, "{} {precision:?}", kernels.name());
        }
    }
}

#[test]
fn of_equal_scores_the_lower_index_wins() {
    let (dim, len) = (20, 300);
    let one = noise(5, dim);
    let x: Vec<f32> = (0..len).flat_map(|_| one.clone()).collect();
    for kernels in all() {
        for precision in PRECISIONS {
            let matrix = matrix(kernels, precision, &x, dim);
            let found = search(&matrix, &[0..128, 128..300], &noise(6, dim), 130);
            let indices: Vec<u32> = found[0].iter().map(|candidate| candidate.index).collect();
            assert_eq!(indices, (0..130).collect::<Vec<u32>>(), "{} {precision:?}", kernels.name());
        }
    }
}

#[test]
fn a_vector_is_given_back_and_bytes_are_told() {
    let x = noise(7, 5 * 100);
    for kernels in all() {
        let floats = matrix(kernels, SearchPrecision::Products, &x, 100);
        assert_eq!(floats.vectors.vector(3), &x[300..400]);
        assert_eq!(floats.vectors.bytes(), 2000);
        assert_eq!(matrix(kernels, SearchPrecision::Binary, &x, 100).vectors.bytes(), 8 * 16);
        let int8 = matrix(kernels, SearchPrecision::Int8, &x, 100).vectors.bytes();
        assert!((5 * 100..=5 * 128).contains(&int8), "{int8}");
    }
    let most = usize::MAX / 64;
    assert!(SearchVectors::new(Kernels::portable(), SearchPrecision::Products, most, 1000).is_err());
}

#[test]
fn exact_sums_are_those_of_f64() {
    for dim in [1, 8, 13, 384] {
        let (a, b) = (noise(8, dim), noise(9, dim));
        let dot = score(SearchPrecision::Products, &a, &b);
        assert!((exact_dot(&a, &b) - dot).abs() < 1e-12);
        let distance = score(SearchPrecision::SquaredDistances, &a, &b);
        assert!((exact_squared_distance(&a, &b) - distance).abs() < 1e-11);
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// Cutting the matrix, asking for fewer, and other queries in the call change neither a candidate nor a bit of its score.
    #[test]
    fn no_cut_changes_a_bit(
        blocks in 1usize..5, more in 0usize..64, dim in 1usize..140, count in 1usize..12, k in 1usize..40, seed: u64,
    ) {
        let len = 64 * blocks + more;
        let (x, queries) = (noise(seed, len * dim), noise(!seed, count * dim));
        let ranges: Vec<Range<usize>> = (0..=blocks).map(|block| 64 * block..len.min(64 * (block + 1))).collect();
        for kernels in all() {
            for precision in PRECISIONS {
                let matrix = matrix(kernels, precision, &x, dim);
                let whole = search(&matrix, &[0..len], &queries, k);
                prop_assert_eq!(&search(&matrix, &ranges, &queries, k), &whole);
                let last = (count - 1) * dim;
                prop_assert_eq!(&search(&matrix, &[0..len], &queries[last..], k)[0], &whole[count - 1]);
                let mut everything = search(&matrix, &[0..len], &queries, len);
                everything.iter_mut().for_each(|found| found.truncate(k));
                prop_assert_eq!(&everything, &whole);
                let mut alone = SearchVectors::new(kernels, precision, len, dim).expect("memory");
                let mut scales = vec![0.0; len];
                alone.fill(&Solo, &x, &mut scales);
                prop_assert_eq!(&scales, &matrix.scales);
                prop_assert_eq!(search(&Matrix { vectors: alone, scales }, &ranges, &queries, k), whole);
            }
        }
    }
}
