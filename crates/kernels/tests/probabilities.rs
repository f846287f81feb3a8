//! The weights of attention against f64, and their promises.

#![allow(clippy::single_range_in_vec_init)] // one text

mod common;

use std::ops::Range;

use bert_layers_kernels::{Bf16, Heads, Kernels, Solo, Team};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

fn run(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[f32],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    heads: Heads,
) -> Vec<f32> {
    let len = texts.iter().map(|text| heads.count * text.len() * text.len()).sum();
    let mut out = vec![f32::NAN; len];
    kernels.attention_probabilities(team, qkv, texts, mask, heads, &mut out);
    out
}

fn heads(count: usize, dim: usize) -> Heads {
    Heads { count, dim, scale: 1.0 / (dim as f32).sqrt() }
}

/// [text][head][query][key]
fn plain(qkv: &[f32], texts: &[Range<usize>], mask: Option<&[bool]>, heads: Heads) -> Vec<f64> {
    let (hidden, dim) = (heads.hidden(), heads.dim);
    let at =
        |row: usize, which: usize, head: usize, i: usize| f64::from(qkv[(3 * row + which) * hidden + head * dim + i]);
    let mut out = Vec::new();
    for text in texts {
        for head in 0..heads.count {
            for query in text.clone() {
                let powers: Vec<f64> = text
                    .clone()
                    .map(|key| {
                        let score: f64 = (0..dim).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum();
                        if mask.is_none_or(|mask| mask[key]) { (score * f64::from(heads.scale)).exp() } else { 0.0 }
                    })
                    .collect();
                let total: f64 = powers.iter().sum();
                out.extend(powers.iter().map(|power| if total == 0.0 { 0.0 } else { power / total }));
            }
        }
    }
    out
}

#[test]
fn equal_f64() {
    for kernels in all() {
        for (heads, texts) in [
            (heads(1, 1), vec![0..1, 1..3]),
            (heads(3, 20), vec![0..1, 1..8, 8..41]),
            (heads(2, 64), vec![3..133]),
            (heads(2, 70), vec![0..5, 5..5, 7..71]),
        ] {
            let rows = texts.last().map_or(0, |text: &Range<usize>| text.end);
            let qkv = noise(9, rows * 3 * heads.hidden());
            let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
            for mask in [None, Some(mask.as_slice())] {
                let got = run(kernels, &Solo, &qkv, &texts, mask, heads);
                assert_close(&got, &plain(&qkv, &texts, mask, heads), 2e-6, &format!("{} {heads:?}", kernels.name()));
            }
            let low: Vec<Bf16> = qkv.iter().map(|&x| Bf16::from_f32(x)).collect();
            let rounded: Vec<f32> = low.iter().map(|x| x.to_f32()).collect();
            let mut got = vec![f32::NAN; texts.iter().map(|text| heads.count * text.len() * text.len()).sum()];
            kernels.attention_probabilities_bf16(&Solo, &low, &texts, None, heads, &mut got);
            assert_eq!(bits(&got), bits(&run(kernels, &Solo, &rounded, &texts, None, heads)), "{}", kernels.name());
        }
    }
}

#[test]
fn large_scores_do_not_overflow_and_no_key_gives_zeros() {
    let heads = heads(1, 8);
    let qkv: Vec<f32> = noise(5, 10 * 24).iter().map(|x| x * 100.0).collect();
    for kernels in all() {
        let got = run(kernels, &Solo, &qkv, &[0..10], None, heads);
        for row in got.chunks(10) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        let none = run(kernels, &Solo, &qkv, &[0..10], Some(&[false; 10]), heads);
        assert!(none.iter().all(|&p| p == 0.0), "{}", kernels.name());
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// A text alone gives the bits that it gives among others, on any number of threads; a masked key may hold anything.
    #[test]
    fn a_text_gives_the_same_bits_whatever_surrounds_it(
        lens in prop::collection::vec(0usize..60, 1..4), dim in 1usize..70, threads in 1usize..9, seed: u64,
    ) {
        let heads = heads(2, dim);
        let width = 3 * heads.hidden();
        let rows: usize = lens.iter().sum();
        let mut qkv = noise(seed, rows * width);
        let mask: Vec<bool> = noise(!seed, rows).iter().map(|&x| x > -1.0).collect();
        for row in (0..rows).filter(|&row| !mask[row]) {
            qkv[row * width + heads.hidden()..(row + 1) * width].fill([f32::NAN, f32::INFINITY, 1e30][row % 3]);
        }
        let mut start = 0;
        let texts: Vec<Range<usize>> = lens.iter().map(|len| { start += len; start - len..start }).collect();
        for kernels in all() {
            let solo = run(kernels, &Solo, &qkv, &texts, Some(&mask), heads);
            prop_assert!(solo.iter().all(|p| p.is_finite()));
            prop_assert_eq!(bits(&solo), bits(&run(kernels, &Threads(threads), &qkv, &texts, Some(&mask), heads)));
            let mut at = 0;
            for text in &texts {
                let (qkv, mask) = (&qkv[text.start * width..text.end * width], &mask[text.clone()]);
                let alone = run(kernels, &Solo, qkv, &[0..text.len()], Some(mask), heads);
                prop_assert_eq!(bits(&alone), bits(&solo[at..at + alone.len()]));
                at += alone.len();
            }
        }
    }
}
