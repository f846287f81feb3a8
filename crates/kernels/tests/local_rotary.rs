//! Attention whose queries and keys turn with their positions, or reach no further than a window, against f64 and its promises.

#![allow(clippy::single_range_in_vec_init)] // one text

mod common;

use std::ops::Range;

use bert_layers_kernels::{Bf16, Heads, Kernels, Rotary, Scoring, Solo, Team};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

/// Angles of `positions` positions.
struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl Angles {
    fn new(positions: usize, pairs: usize) -> Self {
        let angle = |at: usize| {
            let (position, pair) = (at / pairs.max(1), at % pairs.max(1));
            position as f64 * 100f64.powf(-(pair as f64) / pairs.max(1) as f64)
        };
        let of = |f: fn(f64) -> f64| (0..positions * pairs).map(|at| f(angle(at)) as f32).collect();
        Self { cos: of(f64::cos), sin: of(f64::sin), pairs }
    }

    fn rotary(&self) -> Rotary<'_> {
        Rotary { cos: &self.cos, sin: &self.sin, pairs: self.pairs }
    }
}

fn heads(count: usize, dim: usize) -> Heads {
    Heads { count, dim, scale: 1.0 / (dim as f32).sqrt() }
}

fn run(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[f32],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    scoring: Scoring<'_>,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; qkv.len() / 3];
    kernels.attention(team, qkv, texts, mask, scoring, &mut out);
    out
}

/// The weights `[text][head][query][key]` and the results, as their formulas say.
fn plain(qkv: &[f32], texts: &[Range<usize>], mask: Option<&[bool]>, scoring: Scoring<'_>) -> (Vec<f64>, Vec<f64>) {
    let Scoring { heads, rotary, window, .. } = scoring;
    let (hidden, dim) = (heads.hidden(), heads.dim);
    let at =
        |row: usize, which: usize, head: usize, i: usize| f64::from(qkv[(3 * row + which) * hidden + head * dim + i]);
    // Complex numbers, multiplied with cos + i·sin.
    let turned = |row: usize, which: usize, head: usize, position: usize| -> Vec<f64> {
        let mut x: Vec<f64> = (0..dim).map(|i| at(row, which, head, i)).collect();
        if let Some(Rotary { cos, sin, pairs }) = rotary {
            for i in 0..pairs {
                let (re, im) = (x[i], x[i + pairs]);
                let (cos, sin) = (f64::from(cos[position * pairs + i]), f64::from(sin[position * pairs + i]));
                (x[i], x[i + pairs]) = (re * cos - im * sin, re * sin + im * cos);
            }
        }
        x
    };
    let (mut weights, mut out) = (Vec::new(), vec![f64::NAN; qkv.len() / 3]);
    for text in texts {
        for head in 0..heads.count {
            for query in text.clone() {
                let q = turned(query, 0, head, query - text.start);
                let powers: Vec<f64> = text
                    .clone()
                    .map(|key| {
                        let seen = mask.is_none_or(|mask| mask[key]) && window.is_none_or(|w| query.abs_diff(key) <= w);
                        let k = turned(key, 1, head, key - text.start);
                        let score: f64 = q.iter().zip(&k).map(|(q, k)| q * k).sum();
                        if seen { (score * f64::from(heads.scale)).exp() } else { 0.0 }
                    })
                    .collect();
                let total: f64 = powers.iter().sum();
                let shares: Vec<f64> = powers.iter().map(|p| if total == 0.0 { 0.0 } else { p / total }).collect();
                for i in 0..dim {
                    out[query * hidden + head * dim + i] = text
                        .clone()
                        .zip(&shares)
                        .map(|(key, p)| if *p == 0.0 { 0.0 } else { p * at(key, 2, head, i) })
                        .sum();
                }
                weights.extend(shares);
            }
        }
    }
    (weights, out)
}

fn texts_of(lens: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    lens.iter()
        .map(|len| {
            start += len;
            start - len..start
        })
        .collect()
}

#[test]
fn equal_f64() {
    for (heads, pairs, lens) in [
        (heads(1, 2), 1, vec![1, 2, 70]),
        (heads(3, 20), 10, vec![1, 7, 33, 12]),
        (heads(2, 64), 32, vec![130, 16]),
        (heads(2, 70), 35, vec![5, 64]),
        (heads(2, 33), 8, vec![40, 3]), // partly turned; in bf16 not a whole number of words
    ] {
        let texts = texts_of(&lens);
        let rows: usize = lens.iter().sum();
        let qkv = noise(9, rows * 3 * heads.hidden());
        let low: Vec<Bf16> = qkv.iter().map(|&x| Bf16::from_f32(x)).collect();
        let rounded: Vec<f32> = low.iter().map(|x| x.to_f32()).collect();
        let angles = Angles::new(130, pairs);
        let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
        for rotary in [None, Some(angles.rotary())] {
            for window in [None, Some(0), Some(1), Some(5), Some(64), Some(usize::MAX)] {
                let scoring = Scoring { rotary, window, ..heads.into() };
                for mask in [None, Some(mask.as_slice())] {
                    let (weights, want) = plain(&qkv, &texts, mask, scoring);
                    let (low_weights, low_want) = plain(&rounded, &texts, mask, scoring);
                    for kernels in all() {
                        let what = format!("{} {heads:?} {pairs} pairs, window {window:?}", kernels.name());
                        let mut got = vec![f32::NAN; weights.len()];
                        kernels.attention_probabilities(&Solo, &qkv, &texts, mask, scoring, &mut got);
                        assert_close(&got, &weights, 4e-6, &what);
                        assert_close(&run(kernels, &Solo, &qkv, &texts, mask, scoring), &want, 6e-6, &what);
                        // Turned queries and keys, and weights, are rounded to 8 bits.
                        kernels.attention_probabilities_bf16(&Solo, &low, &texts, mask, scoring, &mut got);
                        assert_close(&got, &low_weights, 0.03, &format!("bf16 {what}"));
                        let mut got = vec![f32::NAN; want.len()];
                        kernels.attention_bf16(&Solo, &low, &texts, mask, scoring, &mut got[..]);
                        assert_close(&got, &low_want, 0.06, &format!("bf16 {what}"));
                    }
                }
            }
        }
    }
}

/// What makes the cost of a text grow with its length only: rows beyond the window, and beyond the last tile and panel that have a
/// part in it, are not even looked at.
#[test]
fn rows_far_away_are_not_read() {
    let (len, window, heads) = (3000, 40, heads(2, 24));
    let angles = Angles::new(len, 12);
    let scoring = Scoring { rotary: Some(angles.rotary()), window: Some(window), ..heads.into() };
    let width = 3 * heads.hidden();
    let clean = noise(3, len * width);
    let mut dirty = clean.clone();
    let near = 1400..1600;
    // The widest tile and two of the widest panels.
    let read = near.start - window - 12 - 64..near.end + window + 12 + 64;
    for row in (0..len).filter(|row| !read.contains(row)) {
        dirty[row * width..(row + 1) * width].fill(f32::NAN);
    }
    let rows = near.start * heads.hidden()..near.end * heads.hidden();
    for kernels in all() {
        let of =
            |qkv: &[f32], team: &dyn Team| run(kernels, team, qkv, &[0..len], None, scoring)[rows.clone()].to_vec();
        let want = of(&clean, &Solo);
        assert!(want.iter().all(|x| x.is_finite()));
        assert_eq!(bits(&of(&dirty, &Solo)), bits(&want), "{}", kernels.name());
        assert_eq!(bits(&of(&dirty, &Threads(3))), bits(&want), "{}", kernels.name());
    }
}

/// Equal turns of a query and a key leave their product as it is: a text's weights do not depend on where it starts.
#[test]
fn only_distances_count() {
    let heads = heads(1, 32);
    let angles = Angles::new(60, 16);
    let (cos, sin) = (&angles.cos[20 * 16..], &angles.sin[20 * 16..]);
    let qkv = noise(8, 40 * 96);
    for kernels in all() {
        let of = |rotary| {
            run(kernels, &Solo, &qkv, &[0..40], None, Scoring { rotary: Some(rotary), window: None, ..heads.into() })
        };
        let from_zero = of(angles.rotary());
        let later: Vec<f64> = of(Rotary { cos, sin, pairs: 16 }).iter().map(|&x| f64::from(x)).collect();
        assert_close(&from_zero, &later, 1e-5, kernels.name());
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// A text alone gives the bits that it gives among others, however many threads cut it between queries, with masked keys that
    /// may hold anything; a window that covers the text gives those of none.
    #[test]
    fn a_text_gives_the_same_bits_whatever_surrounds_it(
        lens in prop::collection::vec(0usize..700, 1..4), dim in 2usize..70, window in 0usize..150, turned: bool, masked: bool,
        threads in 1usize..9, seed: u64,
    ) {
        let heads = heads(1, dim);
        let width = 3 * heads.hidden();
        let texts = texts_of(&lens);
        let rows: usize = lens.iter().sum();
        let mut qkv = noise(seed, rows * width);
        let mask: Vec<bool> = noise(!seed, rows).iter().map(|&x| x > -1.0).collect();
        if masked {
            for row in (0..rows).filter(|&row| !mask[row]) {
                qkv[row * width + heads.hidden()..(row + 1) * width].fill([f32::NAN, f32::INFINITY, 1e30][row % 3]);
            }
        }
        let low: Vec<Bf16> = qkv.iter().map(|&x| Bf16::from_f32(x)).collect();
        let angles = Angles::new(700, dim / 2);
        let rotary = turned.then(|| angles.rotary());
        let scoring = Scoring { rotary, window: Some(window), ..heads.into() };
        let mask_of = |rows: Range<usize>| masked.then(|| &mask[rows]);
        let run_low = |kernels: Kernels, team: &dyn Team, low: &[Bf16], texts: &[Range<usize>], mask: Option<&[bool]>| {
            let mut out = vec![f32::NAN; low.len() / 3];
            kernels.attention_bf16(team, low, texts, mask, scoring, &mut out[..]);
            out
        };
        for kernels in all() {
            let solo = run(kernels, &Solo, &qkv, &texts, mask_of(0..rows), scoring);
            prop_assert!(solo.iter().all(|x| x.is_finite()));
            let many = run(kernels, &Threads(threads), &qkv, &texts, mask_of(0..rows), scoring);
            prop_assert_eq!(bits(&solo), bits(&many));
            let solo_low = run_low(kernels, &Solo, &low, &texts, mask_of(0..rows));
            prop_assert!(solo_low.iter().all(|x| x.is_finite()));
            prop_assert_eq!(bits(&solo_low), bits(&run_low(kernels, &Threads(threads), &low, &texts, mask_of(0..rows))));
            for text in &texts {
                let of_text = text.start * width..text.end * width;
                let results = text.start * heads.hidden()..text.end * heads.hidden();
                let alone = run(kernels, &Solo, &qkv[of_text.clone()], &[0..text.len()], mask_of(text.clone()), scoring);
                prop_assert_eq!(bits(&alone), bits(&solo[results.clone()]));
                let alone = run_low(kernels, &Solo, &low[of_text.clone()], &[0..text.len()], mask_of(text.clone()));
                prop_assert_eq!(bits(&alone), bits(&solo_low[results]));
                let of = |window| run(kernels, &Solo, &qkv[of_text.clone()], &[0..text.len()], mask_of(text.clone()), Scoring { window, ..scoring });
                prop_assert_eq!(bits(&of(Some(text.len().saturating_sub(1)))), bits(&of(None)));
            }
        }
    }
}
