//! Disentangled attention against f64, pair by pair, and the promises that it shares with plain attention.

#![allow(clippy::single_range_in_vec_init)] // one text

mod common;

use std::ops::Range;

use bert_layers_kernels::{Bf16, Disentangled, Heads, Kernels, Scoring, Solo, Team};
use common::{Threads, all, assert_close, bits, few_cases, noise};
use proptest::prelude::*;

/// Tables of so many rows, and which row a distance takes.
struct Tables {
    heads: Heads,
    keys: Option<Vec<f32>>,
    queries: Option<Vec<f32>>,
    rows: Vec<u32>,
}

impl Tables {
    /// For texts of up to `longest` tokens; which of the two, by their bits. Near distances have rows of their own, far ones share.
    fn new(heads: (usize, usize), which: u32, longest: usize) -> Self {
        let (count, dim) = heads;
        let reach = longest as i32 - 1;
        let span = (reach / 2).max(1);
        let rows = (-reach..=reach).map(|d| (d.clamp(-span, span - 1) + span) as u32).collect();
        let table = |bit: u32| {
            (which & bit != 0).then(|| noise(77 + u64::from(bit), 2 * span as usize * count * dim)).map(half)
        };
        let heads = Heads { count, dim, scale: 1.0 / ((dim * 3) as f32).sqrt() };
        Tables { heads, keys: table(1), queries: table(2), rows }
    }

    fn scoring(&self) -> Scoring<'_> {
        let tables = Disentangled { keys: self.keys.as_deref(), queries: self.queries.as_deref(), rows: &self.rows };
        Scoring { disentangled: Some(tables), ..Scoring::from(self.heads) }
    }
}

/// Numbers that bf16 holds exactly, so that both precisions mean the same.
fn half(x: Vec<f32>) -> Vec<f32> {
    x.into_iter().map(|x| Bf16::from_f32(x).to_f32()).collect()
}

fn low(x: &[f32]) -> Vec<Bf16> {
    x.iter().map(|&x| Bf16::from_f32(x)).collect()
}

/// Weights [text][head][query][key] and results, in f64; rows that belong to no text are NaN.
fn plain(qkv: &[f32], texts: &[Range<usize>], mask: Option<&[bool]>, tables: &Tables) -> (Vec<f64>, Vec<f64>) {
    let Heads { count, dim, scale } = tables.heads;
    let hidden = count * dim;
    let (mut weights, mut out) = (Vec::new(), vec![f64::NAN; qkv.len() / 3]);
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    for text in texts {
        for head in 0..count {
            let of = |row: usize, which: usize| &qkv[(3 * row + which) * hidden + head * dim..][..dim];
            for query in text.clone() {
                let score = |key: usize| {
                    let distance = query as isize - key as isize + tables.rows.len() as isize / 2;
                    let at = tables.rows[distance as usize] as usize * hidden + head * dim;
                    let near = |x: &[f32], table: &Option<Vec<f32>>| {
                        table.as_ref().map_or(0.0, |table| dot(x, &table[at..at + dim]))
                    };
                    let (q, k) = (of(query, 0), of(key, 1));
                    (dot(q, k) + near(q, &tables.keys) + near(k, &tables.queries)) * f64::from(scale)
                };
                let seen = |key: usize| mask.is_none_or(|mask| mask[key]);
                let scores: Vec<f64> =
                    text.clone().map(|key| if seen(key) { score(key) } else { f64::NEG_INFINITY }).collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f64 = powers.iter().sum();
                let share: Vec<f64> = powers.iter().map(|p| if total == 0.0 { 0.0 } else { p / total }).collect();
                for i in 0..dim {
                    let terms = text.clone().zip(&share).filter(|&(key, _)| seen(key));
                    out[query * hidden + head * dim + i] = terms.map(|(key, p)| p * f64::from(of(key, 2)[i])).sum();
                }
                weights.extend(share);
            }
        }
    }
    (weights, out)
}

fn run(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[f32],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    tables: &Tables,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; qkv.len() / 3];
    kernels.attention(team, qkv, texts, mask, tables.scoring(), &mut out);
    out
}

fn run_bf16(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[f32],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    tables: &Tables,
) -> Vec<f32> {
    let mut out = vec![f32::NAN; qkv.len() / 3];
    kernels.attention_bf16(team, &low(qkv), texts, mask, tables.scoring(), &mut out[..]);
    out
}

/// Texts of these lengths, end to end.
fn ranges(lens: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    lens.iter()
        .map(|len| {
            start += len;
            start - len..start
        })
        .collect()
}

#[test]
fn equals_f64() {
    for (heads, lens) in
        // The last one is long enough to be cut even for one thread.
        [
            ((1, 1), vec![1, 2]),
            ((3, 20), vec![1, 7, 33, 12]),
            ((2, 64), vec![16, 0, 140]),
            ((2, 35), vec![5, 64, 96]),
            ((1, 3), vec![9, 530]),
        ]
    {
        for which in 1..=3 {
            let longest = lens.iter().copied().fold(140, usize::max);
            let tables = Tables::new(heads, which, longest);
            let texts = ranges(&lens);
            let rows = lens.iter().sum();
            let qkv = half(noise(9, rows * 3 * tables.heads.hidden()));
            let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
            for mask in [None, Some(mask.as_slice())] {
                let (weights, want) = plain(&qkv, &texts, mask, &tables);
                for kernels in all() {
                    let what = format!("{} {heads:?} {which} {}", kernels.name(), mask.is_some());
                    assert_close(&run(kernels, &Solo, &qkv, &texts, mask, &tables), &want, 1e-5, &what);
                    let got = run_bf16(kernels, &Threads(3), &qkv, &texts, mask, &tables);
                    assert_close(&got, &want, 0.02, &format!("{what} bf16")); // the weights are rounded
                    let mut got = vec![f32::NAN; weights.len()];
                    kernels.attention_probabilities(&Solo, &qkv, &texts, mask, tables.scoring(), &mut got);
                    assert_close(&got, &weights, 5e-6, &format!("{what} probabilities"));
                    let mut rounded = vec![f32::NAN; weights.len()];
                    kernels.attention_probabilities_bf16(
                        &Solo,
                        &low(&qkv),
                        &texts,
                        mask,
                        tables.scoring(),
                        &mut rounded,
                    );
                    assert_eq!(bits(&got), bits(&rounded), "{what}");
                }
            }
        }
    }
}

#[test]
fn without_vectors_it_is_plain_attention() {
    let tables = Tables::new((2, 9), 0, 20);
    let qkv = noise(3, 20 * 3 * 18);
    for kernels in all() {
        let mut plain = vec![f32::NAN; 20 * 18];
        kernels.attention(&Solo, &qkv, &[0..20], None, tables.heads, &mut plain);
        assert_eq!(bits(&run(kernels, &Solo, &qkv, &[0..20], None, &tables)), bits(&plain), "{}", kernels.name());
    }
}

#[test]
#[should_panic(expected = "distances for a text of 21")]
fn a_text_beyond_the_distances_is_refused() {
    let tables = Tables::new((1, 4), 3, 20);
    run(Kernels::portable(), &Solo, &noise(3, 21 * 12), &[0..21], None, &tables);
}

proptest! {
    #![proptest_config(few_cases())]

    /// A text alone gives the bits that it gives among others, on any number of threads; what masked keys hold counts for nothing,
    /// but they keep their places.
    #[test]
    fn a_text_gives_the_same_bits_whatever_surrounds_it(
        lens in prop::collection::vec(0usize..150, 1..4), dim in 1usize..70, which in 1u32..4, threads in 1usize..9, seed: u64,
    ) {
        let tables = Tables::new((2, dim), which, 150);
        let hidden = 2 * dim;
        let texts = ranges(&lens);
        let rows: usize = lens.iter().sum();
        let clean = half(noise(seed, rows * 3 * hidden));
        let mask: Vec<bool> = noise(!seed, rows).iter().map(|&x| x > -1.0).collect();
        let mut dirty = clean.clone();
        for row in (0..rows).filter(|&row| !mask[row]) {
            dirty[(3 * row + 1) * hidden..3 * (row + 1) * hidden].fill([f32::NAN, f32::INFINITY, 1e30][row % 3]);
        }
        for kernels in all() {
            for run in [run, run_bf16] {
                let solo = run(kernels, &Solo, &clean, &texts, Some(&mask), &tables);
                prop_assert!(solo.iter().all(|x| x.is_finite()));
                let many = run(kernels, &Threads(threads), &dirty, &texts, Some(&mask), &tables);
                prop_assert_eq!(bits(&solo), bits(&many));
                for text in &texts {
                    let qkv = &clean[text.start * 3 * hidden..text.end * 3 * hidden];
                    let alone = run(kernels, &Solo, qkv, &[0..text.len()], Some(&mask[text.clone()]), &tables);
                    prop_assert_eq!(bits(&alone), bits(&solo[text.start * hidden..text.end * hidden]));
                }
            }
        }
    }
}
