//! Many rows → few. What a pool, a word, a window or a span asks for is always a weighted sum, or the maximum, of some rows
//! that the encoder gives: a [`Plan`] says of which, before anything is computed. A [`Mix`] says which layers they are of.

use std::ops::Range;

use crate::groups::Groups;

/// How the rows of one target are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduce {
    /// Σ weight · row, added in the order planned.
    Sum,
    /// The largest of each component; weights do not count.
    Max,
}

/// Which rows of a packed batch make up which rows of a result.
///
/// A row of the result may take rows of several sequences (the windows of one text), which may be computed in any order, by
/// several threads. So that its numbers are the same always, the first of its sequences writes into the row itself, and each later
/// one into a spare row of its own; in the end the spares are folded in, in the order of the plan.
#[derive(Debug)]
pub(crate) struct Plan {
    reduce: Reduce,
    rows: usize,
    gathers: Vec<Gather>,
    terms: Vec<(u32, f32)>,
    /// Where each sequence's gathers start, and their number at the end.
    sequences: Vec<usize>,
    /// The row that each spare is folded into.
    spares: Vec<usize>,
    written: Vec<bool>,
}

/// Which rows, counted within a run, make up which: a [`Plan`]'s for who computes them elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Where the terms of each gather end; they start where those of the gather before end.
    pub ends: Vec<u32>,
    pub rows: Vec<u32>,
    pub weights: Vec<f32>,
    /// [`Reduce::Max`]: weights do not count.
    pub largest: bool,
}

/// What one sequence gives to one target.
#[derive(Debug, Clone, Copy)]
struct Gather {
    target: Target,
    /// Where its terms end; they start where those of the gather before end.
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Row(usize),
    Spare(usize),
}

impl Plan {
    /// A plan for a result of `rows` rows, which nothing goes to yet: rows that nothing goes to stay zero.
    pub fn new(reduce: Reduce, rows: usize) -> Self {
        Self {
            reduce,
            rows,
            gathers: Vec::new(),
            terms: Vec::new(),
            sequences: vec![0],
            spares: Vec::new(),
            written: vec![false; rows],
        }
    }

    /// The sequence being planned gives `terms`, rows of the packed batch with their weights, to `row`: once for each row.
    pub fn gather(&mut self, row: usize, terms: impl IntoIterator<Item = (usize, f32)>) {
        let before = self.terms.len();
        self.terms.extend(terms.into_iter().map(|(row, weight)| (row as u32, weight)));
        if self.terms.len() == before {
            return;
        }
        let target = match std::mem::replace(&mut self.written[row], true) {
            false => Target::Row(row),
            true => {
                self.spares.push(row);
                Target::Spare(self.spares.len() - 1)
            }
        };
        self.gathers.push(Gather { target, end: self.terms.len() });
    }

    /// The sequence being planned is a whole text, which begins with row `start` of the packed batch: it gives all its groups.
    pub fn gather_text<'g>(&mut self, groups: impl Iterator<Item = (usize, &'g [(u32, f32)])>, start: usize) {
        for (row, terms) in groups {
            self.gather(row, terms.iter().map(|&(token, weight)| (start + token as usize, weight)));
        }
        self.end_sequence();
    }

    /// A plan for groups of texts that each are one sequence.
    pub fn of_texts(reduce: Reduce, groups: &Groups, starts: &[usize]) -> Self {
        let mut plan = Self::new(reduce, groups.len());
        (starts[..starts.len() - 1].iter().enumerate())
            .for_each(|(text, &start)| plan.gather_text(groups.of(text), start));
        plan
    }

    /// The sequence being planned has no more to give: the next one follows.
    pub fn end_sequence(&mut self) {
        self.sequences.push(self.gathers.len());
    }

    /// Rows of the result.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Spare rows beside the result.
    pub fn spares(&self) -> usize {
        self.spares.len()
    }

    /// What a run of sequences gives: indices of gathers.
    pub fn run(&self, sequences: &Range<usize>) -> Range<usize> {
        self.sequences[sequences.start]..self.sequences[sequences.end]
    }

    /// The rows of the packed batch that a run takes from, some of them several times.
    pub fn sources(&self, run: &Range<usize>) -> impl Iterator<Item = usize> {
        let start = run.start.checked_sub(1).map_or(0, |before| self.gathers[before].end);
        let end = run.end.checked_sub(1).map_or(0, |last| self.gathers[last].end);
        self.terms[start..end.max(start)].iter().map(|&(row, _)| row as usize)
    }

    /// Whether folding layers first and mixing them then gives the same as mixing first, but for rounding.
    pub fn commutes_with(&self, mix: &Mix) -> bool {
        match (self.reduce, mix) {
            (_, Mix::Each(_)) | (Reduce::Sum, Mix::Weighted(_)) | (Reduce::Max, Mix::Max(_)) => true,
            (Reduce::Max, Mix::Weighted(layers)) => matches!(layers.as_slice(), [(_, 1.0)]),
            (Reduce::Sum, Mix::Max(layers)) => layers.len() == 1,
        }
    }

    /// How rows are put together.
    pub fn reduce(&self) -> Reduce {
        self.reduce
    }

    /// Adds the terms of a run, whose row `first` is row `at` of what they are counted in.
    pub fn add_terms(&self, run: &Range<usize>, first: usize, at: usize, terms: &mut Terms) {
        let mut start = run.start.checked_sub(1).map_or(0, |before| self.gathers[before].end);
        for gather in &self.gathers[run.clone()] {
            for &(row, weight) in &self.terms[start..gather.end] {
                terms.rows.push((row as usize - first + at) as u32);
                terms.weights.push(weight);
            }
            terms.ends.push(terms.rows.len() as u32);
            start = gather.end;
        }
    }

    /// Where each gather of a run goes.
    pub fn targets(&self, run: &Range<usize>) -> impl Iterator<Item = Target> {
        self.gathers[run.clone()].iter().map(|gather| gather.target)
    }

    /// Folds rows of the encoder into the targets of a run; `states` begins with row `first` of the packed batch.
    pub fn fold(&self, run: &Range<usize>, first: usize, states: &[f32], width: usize, targets: &mut [&mut [f32]]) {
        let mut start = run.start.checked_sub(1).map_or(0, |before| self.gathers[before].end);
        for (gather, target) in self.gathers[run.clone()].iter().zip(targets) {
            for (i, &(row, weight)) in self.terms[start..gather.end].iter().enumerate() {
                let at = (row as usize - first) * width;
                self.add(i == 0, weight, &states[at..at + width], target);
            }
            start = gather.end;
        }
    }

    /// Folds the spare rows into a result's, in the order of the plan; `place` says where in `data` a row is.
    pub fn fold_spares(&self, spares: &[f32], width: usize, data: &mut [f32], place: impl Fn(usize) -> usize) {
        for (spare, &row) in spares.chunks_exact(width).zip(&self.spares) {
            let at = place(row) * width;
            self.add(false, 1.0, spare, &mut data[at..at + width]);
        }
    }

    fn add(&self, first: bool, weight: f32, row: &[f32], target: &mut [f32]) {
        match (self.reduce, first) {
            // As it is, so that a row which is only picked keeps every bit.
            (Reduce::Sum, true) if weight == 1.0 => target.copy_from_slice(row),
            (Reduce::Sum, true) => scale(weight, row, target),
            (Reduce::Sum, false) => add(weight, row, target),
            (Reduce::Max, true) => target.copy_from_slice(row),
            (Reduce::Max, false) => max(row, target),
        }
    }
}

/// Which layers a result is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mix {
    /// These, each by itself, in this order.
    Each(Vec<usize>),
    /// Σ weight · layer.
    Weighted(Vec<(usize, f32)>),
    /// The largest of each component.
    Max(Vec<usize>),
}

impl Mix {
    /// How many rows the result has of each planned one.
    pub fn slots(&self) -> usize {
        match self {
            Mix::Each(layers) => layers.len(),
            Mix::Weighted(_) | Mix::Max(_) => 1,
        }
    }

    /// The last layer that is needed.
    pub fn deepest(&self) -> usize {
        let last = match self {
            Mix::Each(layers) | Mix::Max(layers) => layers.iter().max(),
            Mix::Weighted(layers) => layers.iter().map(|(layer, _)| layer).max(),
        };
        last.copied().unwrap_or(0)
    }

    /// Whether a layer is part of it.
    pub fn has(&self, layer: usize) -> bool {
        match self {
            Mix::Each(layers) | Mix::Max(layers) => layers.contains(&layer),
            Mix::Weighted(layers) => layers.iter().any(|&(each, _)| each == layer),
        }
    }

    /// Adds a layer's rows to those of the layers before it.
    pub fn add(&self, layer: usize, first: bool, rows: &[f32], mixed: &mut [f32]) {
        match self {
            Mix::Each(_) => {}
            Mix::Max(_) if first => mixed.copy_from_slice(rows),
            Mix::Max(_) => max(rows, mixed),
            Mix::Weighted(layers) => {
                for (_, weight) in layers.iter().filter(|&&(each, _)| each == layer) {
                    if first { scale(*weight, rows, mixed) } else { add(*weight, rows, mixed) }
                }
            }
        }
    }
}

fn scale(weight: f32, from: &[f32], into: &mut [f32]) {
    into.iter_mut().zip(from).for_each(|(into, x)| *into = weight * x);
}

fn add(weight: f32, from: &[f32], into: &mut [f32]) {
    into.iter_mut().zip(from).for_each(|(into, x)| *into += weight * x);
}

fn max(from: &[f32], into: &mut [f32]) {
    into.iter_mut().zip(from).for_each(|(into, x)| *into = into.max(*x));
}
