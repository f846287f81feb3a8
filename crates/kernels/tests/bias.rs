//! Attention with a bias by head and distance, against f64: the score of a query and a key is `scale · q·k + bias(key − query)`.

#![allow(clippy::single_range_in_vec_init)] // one text

mod common;

use std::ops::Range;

use bert_layers_kernels::{Bf16, DistanceBias, Heads, Kernels, Scoring, Solo, Team};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

const REACH: usize = 20;

/// Far from smooth and different on both sides, so that a distance that is off by one shows.
fn bias(head: usize, distance: isize) -> f32 {
    let distance = distance.clamp(-(REACH as isize), REACH as isize);
    2.0 * ((distance as f32 + 0.3) * 1.7 + head as f32).sin()
}

fn heads(count: usize, dim: usize) -> Heads {
    Heads { count, dim, scale: 1.0 / (dim as f32).sqrt() }
}

fn end_to_end(lens: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    lens.iter().map(|len| (start, start += len).0..start).collect()
}

/// The weights and the results, computed plainly.
fn plain(qkv: &[f32], texts: &[Range<usize>], mask: Option<&[bool]>, heads: Heads) -> (Vec<f64>, Vec<f64>) {
    let (hidden, dim) = (heads.hidden(), heads.dim);
    let at =
        |row: usize, which: usize, head: usize, i: usize| f64::from(qkv[(3 * row + which) * hidden + head * dim + i]);
    let (mut all_weights, mut out) = (Vec::new(), vec![0.0; qkv.len() / 3]);
    for text in texts {
        for head in 0..heads.count {
            for query in text.clone() {
                let weights: Vec<f64> = text
                    .clone()
                    .map(|key| {
                        let product: f64 = (0..dim).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum();
                        let score =
                            product * f64::from(heads.scale) + f64::from(bias(head, key as isize - query as isize));
                        if mask.is_none_or(|mask| mask[key]) { score.exp() } else { 0.0 }
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                let weights: Vec<f64> =
                    weights.into_iter().map(|w| if total > 0.0 { w / total } else { 0.0 }).collect();
                for i in 0..dim {
                    out[query * hidden + head * dim + i] =
                        text.clone().zip(&weights).map(|(key, w)| w * at(key, 2, head, i)).sum();
                }
                all_weights.extend(weights);
            }
        }
    }
    (all_weights, out)
}

struct Ours {
    weights: Vec<f32>,
    out: Vec<f32>,
}

fn run(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[f32],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    scoring: Scoring<'_>,
) -> Ours {
    let mut out = vec![f32::NAN; qkv.len() / 3];
    kernels.attention(team, qkv, texts, mask, scoring, &mut out);
    let mut weights = vec![f32::NAN; texts.iter().map(|text| scoring.heads.count * text.len().pow(2)).sum()];
    kernels.attention_probabilities(team, qkv, texts, mask, scoring, &mut weights);
    Ours { weights, out }
}

#[test]
fn equals_f64() {
    for kernels in all() {
        for (heads, lens) in [
            (heads(1, 1), vec![1, 2]),
            (heads(3, 20), vec![1, 7, 33, 12]),
            (heads(2, 64), vec![16, 130]),
            (heads(2, 70), vec![5, 64]),
        ] {
            let texts = end_to_end(&lens);
            let rows: usize = lens.iter().sum();
            let qkv = noise(9, rows * 3 * heads.hidden());
            let table = DistanceBias::new(heads.count, REACH, bias);
            let scoring = Scoring { bias: Some(&table), ..heads.into() };
            let gaps: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
            let ends: Vec<bool> =
                (0..rows).map(|row| texts.iter().any(|text| text.start == row || text.start + 1 == row)).collect();
            for mask in [None, Some(gaps.as_slice()), Some(ends.as_slice())] {
                let what = format!("{} {heads:?}", kernels.name());
                let ours = run(kernels, &Solo, &qkv, &texts, mask, scoring);
                let (weights, out) = plain(&qkv, &texts, mask, heads);
                assert_close(&ours.weights, &weights, 4e-6, &what);
                assert_close(&ours.out, &out, 1e-5, &what);
            }
            // bf16 is that of rounded numbers: weights exactly, results but for the rounding of weights.
            let low: Vec<Bf16> = qkv.iter().map(|&x| Bf16::from_f32(x)).collect();
            let rounded: Vec<f32> = low.iter().map(|x| x.to_f32()).collect();
            let ours = run(kernels, &Solo, &rounded, &texts, None, scoring);
            let mut weights = vec![f32::NAN; ours.weights.len()];
            kernels.attention_probabilities_bf16(&Solo, &low, &texts, None, scoring, &mut weights);
            assert_eq!(bits(&weights), bits(&ours.weights), "{}", kernels.name());
            let mut out = vec![f32::NAN; ours.out.len()];
            kernels.attention_bf16(&Solo, &low, &texts, None, scoring, &mut out[..]);
            let wide: Vec<f64> = ours.out.iter().map(|&x| f64::from(x)).collect();
            assert_close(&out, &wide, 2e-2, kernels.name());
        }
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// The same bits alone and among others, on any number of threads; a masked key may hold anything; no bias is a bias of 0.
    #[test]
    fn a_text_gives_the_same_bits_whatever_surrounds_it(
        lens in prop::collection::vec(0usize..120, 1..4), dim in 1usize..70, threads in 1usize..9, seed: u64,
    ) {
        let (heads, texts) = (heads(2, dim), end_to_end(&lens));
        let width = 3 * heads.hidden();
        let rows: usize = lens.iter().sum();
        let mut qkv = noise(seed, rows * width);
        let mask: Vec<bool> = noise(!seed, rows).iter().map(|&x| x > -0.5).collect();
        for row in (0..rows).filter(|&row| !mask[row]) {
            qkv[row * width + heads.hidden()..(row + 1) * width].fill([f32::NAN, f32::INFINITY, 1e30][row % 3]);
        }
        let (table, zero) = (DistanceBias::new(2, REACH, bias), DistanceBias::new(2, 3, |_, _| 0.0));
        let scoring = Scoring { bias: Some(&table), ..heads.into() };
        for kernels in all() {
            let solo = run(kernels, &Solo, &qkv, &texts, Some(&mask), scoring);
            prop_assert!(solo.out.iter().chain(&solo.weights).all(|x| x.is_finite()));
            let many = run(kernels, &Threads(threads), &qkv, &texts, Some(&mask), scoring);
            prop_assert_eq!((bits(&solo.out), bits(&solo.weights)), (bits(&many.out), bits(&many.weights)));
            let mut at = 0;
            for text in &texts {
                let (qkv, mask) = (&qkv[text.start * width..text.end * width], &mask[text.clone()]);
                let alone = run(kernels, &Solo, qkv, &[0..text.len()], Some(mask), scoring);
                prop_assert_eq!(bits(&alone.out), bits(&solo.out[text.start * heads.hidden()..text.end * heads.hidden()]));
                prop_assert_eq!(bits(&alone.weights), bits(&solo.weights[at..at + alone.weights.len()]));
                at += alone.weights.len();
            }
            let zeros = run(kernels, &Solo, &qkv, &texts, Some(&mask), Scoring { bias: Some(&zero), ..heads.into() });
            let none = run(kernels, &Solo, &qkv, &texts, Some(&mask), heads.into());
            prop_assert_eq!((bits(&zeros.out), bits(&zeros.weights)), (bits(&none.out), bits(&none.weights)));
        }
    }
}
