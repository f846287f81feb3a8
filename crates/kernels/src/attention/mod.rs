//! Attention over texts that lie end to end.
//!
//! A task takes one head of one text, or some of its queries. It copies the keys and values that may be attended to into
//! panels, as weights are packed, and then goes through the queries a tile at a time: scores = q·kᵀ, softmax, p·v, all
//! with the micro-kernel of the linear layer. Only the scores of one tile exist at a time. In bf16 the weights p are rounded
//! like everything else; scores and sums are f32.
//!
//! A masked key is left out while packing. So it costs nothing, its weight is exactly 0 whatever it holds, and the result
//! is, bit for bit, that of a text without it (unless distances count: they are those of the text with it).

mod bias;
mod disentangled;
mod head;
mod number;
mod probabilities;
mod rotary;
mod window;

use std::ops::Range;

pub use bias::DistanceBias;
pub use disentangled::Disentangled;
use disentangled::{Distances, MOST_QUERIES};
use head::{Head, Layout, OnScratch};
use number::Number;
pub use rotary::Rotary;
use window::{most_queries, near_from_panel};

use crate::gemm::Product;
use crate::isa::PanelWidth;
use crate::memory::with_scratch;
use crate::output::{Element, Output};
use crate::team::{Shared, Team, piece};
use crate::{Bf16, Kernels, team};

/// How a row of queries, keys or values is cut into heads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// How many.
    pub count: usize,
    /// Floats in each.
    pub dim: usize,
    /// What q·k is multiplied with before softmax: 1/√dim in BERT. Positive.
    pub scale: f32,
}

impl Heads {
    /// Floats in a row: `count` × `dim`.
    pub fn hidden(&self) -> usize {
        self.count * self.dim
    }
}

/// How queries and keys become scores: as BERT's, from [`Heads`] alone, or with what a family adds.
#[derive(Clone, Copy, Debug)]
pub struct Scoring<'a> {
    /// How rows are cut into heads, and how products are scaled.
    pub heads: Heads,
    /// What is added to the scaled products.
    pub bias: Option<&'a DistanceBias>,
    /// Vectors of distances, multiplied with queries and keys and added to q·k before it is scaled.
    pub disentangled: Option<Disentangled<'a>>,
    /// Turns queries and keys by their positions.
    pub rotary: Option<Rotary<'a>>,
    /// How far a row attends to: to as many rows of its text before it and after it. None: to all.
    pub window: Option<usize>,
}

impl From<Heads> for Scoring<'_> {
    fn from(heads: Heads) -> Self {
        Scoring { heads, bias: None, disentangled: None, rotary: None, window: None }
    }
}

impl Scoring<'_> {
    fn check(&self) {
        assert!(self.heads.scale > 0.0, "attention: scale");
        assert!(self.bias.is_none_or(|bias| bias.heads() == self.heads.count), "attention: heads of the bias");
        // No model has both, and each has its own idea of which scores there are.
        let plain = self.window.is_none() && self.rotary.is_none();
        assert!(plain || self.disentangled.is_none(), "attention: distances with a window, or with turned keys");
    }
}

impl Kernels {
    /// For each text, head and query row: `out = Σ softmax(scale · q·kᵀ + bias) · v` over the text's keys.
    ///
    /// - `qkv`: rows of 3 · hidden floats: queries, keys, values, each head after head.
    /// - `texts`: the rows of each text, ascending. Rows in between are left as they are.
    /// - `mask`: for each row, whether it may be attended to. Every query gets a result, its own row masked or not; if no
    ///   key is left, zeros.
    /// - `out`: rows of hidden floats.
    ///
    /// A row's result depends on its text only.
    ///
    /// # Panics
    /// If sizes do not fit each other, texts overlap or are not ascending, `scale` is not positive, or a text is longer than
    /// there are angles or distances for.
    pub fn attention<'s>(
        self,
        team: &dyn Team,
        qkv: &[f32],
        texts: &[Range<usize>],
        mask: Option<&[bool]>,
        scoring: impl Into<Scoring<'s>>,
        out: &mut [f32],
    ) {
        attention_f32(self, team, qkv, texts, mask, scoring.into(), out);
    }

    /// [`attention`](Self::attention) of queries, keys and values in bf16, with results in f32 or rounded to bf16.
    ///
    /// # Panics
    /// As [`attention`](Self::attention).
    pub fn attention_bf16<'a, 's>(
        self,
        team: &dyn Team,
        qkv: &[Bf16],
        texts: &[Range<usize>],
        mask: Option<&[bool]>,
        scoring: impl Into<Scoring<'s>>,
        out: impl Into<Output<'a>>,
    ) {
        attention_bf16(self, team, qkv, texts, mask, scoring.into(), out.into());
    }
}

/// Generic in nothing, so compiled here once and not wherever it is called; as is [`attention_f32`].
fn attention_bf16(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[Bf16],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    scoring: Scoring<'_>,
    out: Output<'_>,
) {
    match out {
        Output::F32(out) => attention(kernels, team, qkv, texts, mask, scoring, out),
        Output::Bf16(out) => attention(kernels, team, qkv, texts, mask, scoring, out),
    }
}

fn attention_f32(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[f32],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    scoring: Scoring<'_>,
    out: &mut [f32],
) {
    attention(kernels, team, qkv, texts, mask, scoring, out);
}

fn attention<N: Number, Y: Element>(
    kernels: Kernels,
    team: &dyn Team,
    qkv: &[N],
    texts: &[Range<usize>],
    mask: Option<&[bool]>,
    scoring: Scoring<'_>,
    out: &mut [Y],
) {
    scoring.check();
    let Scoring { heads, bias, disentangled, rotary, window } = scoring;
    let hidden = heads.hidden();
    assert_eq!(qkv.len(), 3 * out.len(), "attention: qkv and out");
    if out.is_empty() {
        return;
    }
    assert!(hidden > 0 && out.len().is_multiple_of(hidden), "attention: rows of {hidden} in {}", out.len());
    let rows = out.len() / hidden;
    if let Some(mask) = mask {
        assert_eq!(mask.len(), rows, "attention: mask");
    }
    let mut end = 0;
    for text in texts {
        assert!(end <= text.start && text.start <= text.end && text.end <= rows, "attention: texts {texts:?}");
        end = text.end;
    }
    let disentangled = disentangled.and_then(|tables| tables.checked(hidden, texts));

    if let Some(rotary) = rotary {
        rotary.check(heads.dim, texts);
    }
    let kept: Vec<usize> = (0..rows).filter(|&row| mask.is_none_or(|mask| mask[row])).collect();

    let most = if disentangled.is_some() { MOST_QUERIES } else { most_queries(window) };
    let tasks = tasks(team.threads(), texts, heads.count, most);
    let out = Shared::new(out);
    let panel = N::Product::vectorize(kernels, PanelWidth);
    team::run(team, tasks.len(), |task| {
        let Task { text, head, queries } = tasks[task].clone();
        let distances = disentangled.map(|tables| Distances { tables, text: text.clone(), queries: queries.clone() });
        let bias = bias.map(|bias| bias.of_text(head, text.len(), heads.scale));
        let keys = &kept[kept.partition_point(|&row| row < text.start)..kept.partition_point(|&row| row < text.end)];
        let keys = &keys[near_from_panel(keys, &queries, window, panel)];
        let layout = Layout::new::<N::Product>(keys.len(), &scoring, panel, distances.as_ref());
        let text = text.start;
        let work = Head { qkv, heads, head, rotary, window, text, keys, queries, bias, distances, out, layout };
        with_scratch(layout.len(), |scratch| {
            N::Product::vectorize(kernels, OnScratch { work, scratch });
        });
    });
}

#[derive(Clone)]
struct Task {
    text: Range<usize>,
    head: usize,
    queries: Range<usize>,
}

/// A task for each text and head; for several each, by queries, if that is too few for the threads, or if a task has `most` queries.
fn tasks(threads: usize, texts: &[Range<usize>], heads: usize, most: usize) -> Vec<Task> {
    /// Fewer queries are not worth packing the keys once more.
    const LEAST_QUERIES: usize = 48;
    let heads_of_texts = (texts.len() * heads).max(1);
    let wanted = if threads <= 1 { 1 } else { (2 * threads).div_ceil(heads_of_texts) };
    let mut tasks = Vec::with_capacity(heads_of_texts);
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let parts = wanted.min(text.len().div_ceil(LEAST_QUERIES)).max(text.len().div_ceil(most));
        for head in 0..heads {
            for part in 0..parts {
                let queries = piece(text.len(), parts, part);
                let queries = text.start + queries.start..text.start + queries.end;
                tasks.push(Task { text: text.clone(), head, queries });
            }
        }
    }
    tasks
}
