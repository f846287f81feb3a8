//! The weights of attention, for who wants to look at them.
//!
//! [`Kernels::attention`] has only a tile of them at a time, unnormalized. Here they are computed once more, plainly: a dot
//! product for each query and key, softmax over each row. That costs little beside a block's matrix products.

use std::ops::Range;

use super::bias::TextBias;
use super::window::near;
use super::{Rotary, Scoring};
use crate::math::exp;
use crate::memory::with_scratch;
use crate::output::Element;
use crate::simd::{Simd, Work};
use crate::team::{Shared, Team};
use crate::{Bf16, Kernels, team};

impl Kernels {
    /// For each text, head and query row: `softmax(scale · q·kᵀ + bias)` over the text's keys.
    ///
    /// - `qkv`, `texts`, `mask`: as for [`attention`](Self::attention); values are not read.
    /// - `out`: text after text and in each head after head, a matrix `[query][key]` of all rows of the text. A masked key has 0,
    ///   and one outside the window; so does every one, if no key is left.
    ///
    /// A row's result depends on its text only.
    ///
    /// # Panics
    /// If sizes do not fit each other, `scale` is not positive, or a text is longer than there are angles or distances for.
    pub fn attention_probabilities<'s>(
        self,
        team: &dyn Team,
        qkv: &[f32],
        texts: &[Range<usize>],
        mask: Option<&[bool]>,
        scoring: impl Into<Scoring<'s>>,
        out: &mut [f32],
    ) {
        probabilities(self, team, qkv, texts, mask, scoring.into(), out);
    }

    /// [`attention_probabilities`](Self::attention_probabilities) of queries and keys in bf16.
    ///
    /// # Panics
    /// As [`attention_probabilities`](Self::attention_probabilities).
    pub fn attention_probabilities_bf16<'s>(
        self,
        team: &dyn Team,
        qkv: &[Bf16],
        texts: &[Range<usize>],
        mask: Option<&[bool]>,
        scoring: impl Into<Scoring<'s>>,
        out: &mut [f32],
    ) {
        probabilities(self, team, qkv, texts, mask, scoring.into(), out);
    }
}

/// A number that queries and keys may consist of.
trait Number: Element + Default + Sync {
    fn to_f32(self) -> f32;

    fn from_f32(x: f32) -> Self;
}

impl Number for f32 {
    fn to_f32(self) -> f32 {
        self
    }

    fn from_f32(x: f32) -> f32 {
        x
    }
}

impl Number for Bf16 {
    fn to_f32(self) -> f32 {
        Bf16::to_f32(self)
    }

    fn from_f32(x: f32) -> Bf16 {
        Bf16::from_f32(x)
    }
}

fn probabilities<N: Number>(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[N],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    scoring: Scoring<'_>,
    out: &mut [f32],
) {
    scoring.check();
    let Scoring { heads, bias, disentangled, rotary, window } = scoring;
    let stride = 3 * heads.hidden();
    assert!(stride > 0, "probabilities: heads");
    let rows = qkv.len() / stride;
    assert!(texts.iter().all(|text| text.start <= text.end && text.end <= rows), "probabilities: texts {texts:?}");
    assert!(mask.is_none_or(|mask| mask.len() == rows), "probabilities: mask");
    let disentangled = disentangled.and_then(|tables| tables.checked(heads.hidden(), texts));
    if let Some(rotary) = rotary {
        rotary.check(heads.dim, texts);
    }
    let mut starts = Vec::with_capacity(texts.len());
    let mut end = 0;
    for text in texts {
        starts.push(end);
        end += heads.count * text.len() * text.len();
    }
    assert_eq!(out.len(), end, "probabilities: out");

    let out = Shared::new(out);
    team::run(team, texts.len() * heads.count, |task| {
        let (t, head) = (task / heads.count, task % heads.count);
        let text = texts[t].clone();
        if text.is_empty() {
            return;
        }
        let size = text.len() * text.len();
        let start = starts[t] + head * size;
        // SAFETY: each text and head has a part of its own.
        let out = unsafe { out.part(start..start + size) };
        let keys: Vec<usize> = (0..text.len()).filter(|key| mask.is_none_or(|mask| mask[text.start + key])).collect();
        let bias = bias.map(|bias| bias.of_text(head, text.len(), heads.scale));
        let mut turned = vec![N::default(); heads.dim];
        // The head's queries or keys, in f32.
        let mut copy = |row: usize, which: usize, to: &mut [f32]| {
            let from = (text.start + row) * stride + which * heads.hidden() + head * heads.dim;
            let mut from = &qkv[from..from + heads.dim];
            if let Some(rotary) = rotary {
                kernels.vectorize_bf16(Turn { rotary, position: row, from, to: &mut turned });
                from = &turned;
            }
            to.iter_mut().zip(from).for_each(|(to, x)| *to = x.to_f32());
        };
        // The head's part of a table, in the order of distances from −(n − 1) on, rounded as attention rounds it.
        let vectors = |table: Option<&[f32]>| -> Vec<f32> {
            let (Some(tables), Some(table)) = (disentangled, table) else { return Vec::new() };
            let rows = (1 - text.len() as isize..text.len() as isize).map(|distance| tables.row(distance));
            let parts = rows.map(|row| row * heads.hidden() + head * heads.dim).map(|at| &table[at..at + heads.dim]);
            parts.flatten().map(|&x| N::from_f32(x).to_f32()).collect()
        };
        let near_keys = vectors(disentangled.and_then(|tables| tables.keys));
        let near_queries = vectors(disentangled.and_then(|tables| tables.queries));
        with_scratch((keys.len() + 1) * heads.dim + keys.len(), |scratch| {
            let (packed, scratch) = scratch.split_at_mut(keys.len() * heads.dim);
            let (query, scores) = scratch.split_at_mut(heads.dim);
            for (&key, to) in keys.iter().zip(packed.chunks_exact_mut(heads.dim)) {
                copy(key, 1, to);
            }
            for (row, out) in out.chunks_exact_mut(text.len()).enumerate() {
                copy(row, 0, query);
                let bias = bias.as_ref().map(|bias| (bias, row));
                // The distance of this query from key 0 is that many rows from the first.
                let zero = row + text.len() - 1;
                let near = near(&keys, &(row..row + 1), window);
                let scores = &mut scores[near.clone()];
                kernels.vectorize(Row {
                    query,
                    keys: &packed[near.start * heads.dim..near.end * heads.dim],
                    places: &keys[near.clone()],
                    near_keys: &near_keys,
                    near_queries: &near_queries,
                    zero,
                    bias,
                    scale: heads.scale,
                    scores,
                });
                out.fill(0.0);
                keys[near].iter().zip(&*scores).for_each(|(&key, &p)| out[key] = p);
            }
        });
    });
}

/// A query or a key that turns.
struct Turn<'a, N> {
    rotary: Rotary<'a>,
    position: usize,
    from: &'a [N],
    to: &'a mut [N],
}

impl<N: Number> Work for Turn<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Turn { rotary, position, from, to } = self;
        assert_eq!(from.len(), to.len());
        // SAFETY: as many numbers in both; `probabilities` has checked the rest.
        unsafe { rotary.turn(s, position, from.len(), from.as_ptr(), to.as_mut_ptr()) };
    }
}

/// One query with its keys.
struct Row<'a> {
    query: &'a [f32],
    /// As long as the query, one after the other.
    keys: &'a [f32],
    /// Each key's position in the text.
    places: &'a [usize],
    /// Vectors of distances, each as long as the query, or none.
    near_keys: &'a [f32],
    near_queries: &'a [f32],
    /// Which of these is of the query's distance from position 0.
    zero: usize,
    /// What distances add, from which row.
    bias: Option<(&'a TextBias, usize)>,
    scale: f32,
    /// One for each key: the result.
    scores: &'a mut [f32],
}

impl Work for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Row { query, keys, places, near_keys, near_queries, zero, bias, scale, scores } = self;
        let dim = query.len();
        for ((score, key), place) in scores.iter_mut().zip(keys.chunks_exact(dim)).zip(places) {
            let near = (zero - place) * dim..(zero - place + 1) * dim;
            *score = dot(s, query, key);
            if let Some(near) = near_keys.get(near.clone()) {
                *score += dot(s, query, near);
            }
            if let Some(near) = near_queries.get(near) {
                *score += dot(s, key, near);
            }
        }
        if let Some((bias, row)) = bias {
            bias.add(row, places, scores);
        }
        softmax(s, scores, scale);
    }
}

#[inline(always)]
fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut sum = s.splat(0.0);
    for i in (0..a.len()).step_by(S::WIDTH) {
        let lanes = S::WIDTH.min(a.len() - i);
        // SAFETY: as many numbers follow `i` in both.
        let (a, b) =
            unsafe { (s.load_first(a.as_ptr().add(i), lanes, 0.0), s.load_first(b.as_ptr().add(i), lanes, 0.0)) };
        sum = s.fma(a, b, sum);
    }
    s.sum(sum)
}

/// Turns scores into e^(scale·(score − largest)), divided by their sum.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32], scale: f32) {
    let (at, len) = (scores.as_mut_ptr(), scores.len());
    let mut largest = s.splat(f32::NEG_INFINITY);
    let mut total = s.splat(0.0);
    // SAFETY: loads and stores are of the lanes that lie within `len`; the others are −∞, whose power is 0.
    unsafe {
        for i in (0..len).step_by(S::WIDTH) {
            largest = s.max(largest, s.load_first(at.add(i), S::WIDTH.min(len - i), f32::NEG_INFINITY));
        }
        let largest = s.splat(s.largest(largest));
        for i in (0..len).step_by(S::WIDTH) {
            let lanes = S::WIDTH.min(len - i);
            let score = s.load_first(at.add(i), lanes, f32::NEG_INFINITY);
            let power = exp(s, s.mul(s.sub(score, largest), s.splat(scale)));
            s.store_first(at.add(i), lanes, power);
            total = s.add(total, power);
        }
        let total = s.splat(s.sum(total));
        for i in (0..len).step_by(S::WIDTH) {
            let lanes = S::WIDTH.min(len - i);
            s.store_first(at.add(i), lanes, s.div(s.load_first(at.add(i), lanes, 0.0), total));
        }
    }
}
