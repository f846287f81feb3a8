//! Attention against f64, and its promises: masked keys count for nothing, texts and threads do not matter.

#![allow(clippy::single_range_in_vec_init)] // one text

mod common;

use std::ops::Range;

use bert_layers_kernels::{Heads, Kernels, Solo, Team};
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
    let mut out = vec![f32::NAN; qkv.len() / 3];
    kernels.attention(team, qkv, texts, mask, heads, &mut out);
    out
}

fn heads(count: usize, dim: usize) -> Heads {
    Heads { count, dim, scale: 1.0 / (dim as f32).sqrt() }
}

#[test]
fn equals_f64() {
    for kernels in all() {
        for (heads, lens) in [
            (heads(1, 1), vec![1, 2]),
            (heads(3, 20), vec![1, 7, 33, 12]),
            (heads(12, 26), vec![40]),
            (heads(2, 64), vec![16, 130]),
            (heads(2, 70), vec![5, 64]),
        ] {
            let rows: usize = lens.iter().sum();
            let mut texts = Vec::new();
            let mut start = 0;
            for len in lens {
                texts.push(start..start + len);
                start += len;
            }
            let qkv = noise(9, rows * 3 * heads.hidden());
            let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
            for mask in [None, Some(mask.as_slice())] {
                let got = run(kernels, &Solo, &qkv, &texts, mask, heads);
                let want = common::attention(&qkv, &texts, mask, heads);
                assert_close(&got, &want, 4e-6, &format!("{} {heads:?}", kernels.name()));
            }
        }
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let heads = heads(1, 8);
    let mut qkv = noise(5, 10 * 24);
    qkv.iter_mut().for_each(|x| *x *= 100.0);
    for kernels in all() {
        let got = run(kernels, &Solo, &qkv, &[0..10], None, heads);
        let want = common::attention(&qkv, &[0..10], None, heads);
        assert_close(&got, &want, 0.02, kernels.name());
    }
}

#[test]
fn a_text_without_keys_gives_zeros_and_rows_between_texts_stay() {
    let heads = heads(2, 5);
    let qkv = noise(1, 6 * 30);
    for kernels in all() {
        let mask = [false, false, true, true, true, true];
        let got = run(kernels, &Solo, &qkv, &[0..2, 4..4, 5..6], Some(&mask), heads);
        assert!(got[..20].iter().all(|&x| x == 0.0), "{}", kernels.name());
        assert!(got[20..50].iter().all(|x| x.is_nan()), "{}", kernels.name());
        // One key: its value, exactly.
        assert_eq!(bits(&got[50..]), bits(&qkv[5 * 30 + 20..]), "{}", kernels.name());
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// A text alone gives the bits that it gives among others, on any number of threads; a query alone cannot be asked
    /// for, but threads cut between queries.
    #[test]
    fn a_text_gives_the_same_bits_whatever_surrounds_it(
        lens in prop::collection::vec(0usize..120, 1..4), dim in 1usize..70, threads in 1usize..9, seed: u64,
    ) {
        let heads = heads(2, dim);
        let width = 3 * heads.hidden();
        let rows: usize = lens.iter().sum();
        let qkv = noise(seed, rows * width);
        let mut start = 0;
        let texts: Vec<Range<usize>> = lens.iter().map(|len| { start += len; start - len..start }).collect();
        for kernels in all() {
            let solo = run(kernels, &Solo, &qkv, &texts, None, heads);
            let many = run(kernels, &Threads(threads), &qkv, &texts, None, heads);
            prop_assert_eq!(bits(&solo), bits(&many));
            for text in &texts {
                let alone = run(kernels, &Solo, &qkv[text.start * width..text.end * width], &[0..text.len()], None, heads);
                prop_assert_eq!(bits(&alone), bits(&solo[text.start * heads.hidden()..text.end * heads.hidden()]));
            }
        }
    }

    /// Masked keys may hold anything, NaN and infinities included, and the result is that of the text without them.
    #[test]
    fn a_masked_key_counts_for_nothing(len in 1usize..70, dim in 1usize..40, seed: u64) {
        let heads = heads(1, dim);
        let clean = noise(seed, len * 3 * dim);
        let mask: Vec<bool> = noise(!seed, len).iter().map(|&x| x > -0.5).collect();
        let mut dirty = clean.clone();
        for row in (0..len).filter(|&row| !mask[row]) {
            dirty[row * 3 * dim + dim..(row + 1) * 3 * dim].fill([f32::NAN, f32::INFINITY, 1e30][row % 3]);
        }
        let kept: Vec<f32> = (0..len).filter(|&r| mask[r]).flat_map(|r| clean[r * 3 * dim..(r + 1) * 3 * dim].to_vec()).collect();
        for kernels in all() {
            let masked = run(kernels, &Solo, &dirty, &[0..len], Some(&mask), heads);
            let without = run(kernels, &Solo, &kept, &[0..kept.len() / 3 / dim], None, heads);
            let mut without = without.chunks(dim);
            for row in 0..len {
                let got = &masked[row * dim..(row + 1) * dim];
                prop_assert!(got.iter().all(|x| x.is_finite()));
                if mask[row] {
                    prop_assert_eq!(bits(got), bits(without.next().expect("as many rows")));
                }
            }
        }
    }
}
