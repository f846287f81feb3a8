//! Where the rows of a chunk go, layer by layer.

use std::ops::Range;

use crate::Result;
use crate::batch::Chunk;
use crate::fold::{Mix, Plan, Reduce, Terms};

/// Takes each layer's rows of a chunk. A chunk may be made up of several [`Part`]s, of one call or of several.
pub(crate) struct Sink<'r> {
    parts: Vec<Part<'r>>,
}

/// A run of sequences within a chunk, and where in one result its rows go.
pub(crate) struct Part<'r> {
    /// How many rows of the chunk are this part's. The parts of a chunk lie end to end.
    pub rows: usize,
    /// How many sequences.
    pub sequences: usize,
    /// Where the hidden states go.
    pub states: Option<Destination<'r>>,
    /// Where the pooler's output goes, a row a sequence: layer 0 of this destination.
    pub pooler: Option<Destination<'r>>,
    /// Where attention weights go, `[sequence][head][query][key]`, for those layers whose blocks' are kept.
    pub attentions: Vec<(usize, &'r mut [f32])>,
    /// The last layer that anything here asks for.
    pub deepest: usize,
}

/// Where the rows of a part go.
pub(crate) enum Destination<'r> {
    /// Each layer's rows as they are, to rows of the result itself, for those layers that are kept.
    Rows(Vec<Option<&'r mut [f32]>>),
    /// Fewer rows, as planned.
    Fold(Fold<'r>),
}

/// Rows on their way into a result that a plan makes of them.
pub(crate) struct Fold<'r> {
    pub plan: &'r Plan,
    pub mix: &'r Mix,
    /// The part's gathers.
    pub run: Range<usize>,
    /// The row of the packed batch that the part begins with, as the plan counts.
    pub first: usize,
    /// For each of the mix's slots, the target of each gather.
    pub targets: Vec<Vec<&'r mut [f32]>>,
    /// The layers so far, mixed.
    pub mixed: Vec<f32>,
}

impl<'r> Sink<'r> {
    /// A sink for a chunk of these parts.
    pub fn new(parts: Vec<Part<'r>>) -> Self {
        Self { parts }
    }

    /// The rows of a layer in the result itself, where the whole chunk goes to one result as it is: to be written right into.
    pub fn lend(&mut self, layer: usize) -> Option<&'r mut [f32]> {
        match self.parts.as_mut_slice() {
            [Part { states: Some(Destination::Rows(layers)), .. }] => layers.get_mut(layer)?.take(),
            _ => None,
        }
    }

    /// Where a layer's attention weights are to be written, for each run of the chunk's sequences that they are wanted of.
    pub fn take_attentions(&mut self, layer: usize) -> Vec<(Range<usize>, &'r mut [f32])> {
        let (mut first, mut wanted) = (0, Vec::new());
        for part in &mut self.parts {
            let end = first + part.sequences;
            if let Some(at) = part.attentions.iter().position(|(of, _)| *of == layer) {
                wanted.push((first..end, part.attentions.swap_remove(at).1));
            }
            first = end;
        }
        wanted
    }

    /// Whether [`put`](Self::put) would do anything with a layer's rows: not if they were lent.
    pub fn wants(&self, layer: usize) -> bool {
        self.parts.iter().filter_map(|part| part.states.as_ref()).any(|states| states.wants(layer))
    }

    /// Takes a layer's rows of the whole chunk. Layers come in ascending order.
    pub fn put(&mut self, layer: usize, mut rows: &[f32]) -> Result<()> {
        let width = rows.len().checked_div(self.parts.iter().map(|part| part.rows).sum()).unwrap_or(0);
        for part in &mut self.parts {
            let (of_part, rest) = rows.split_at(part.rows * width);
            if let Some(states) = &mut part.states {
                states.put(layer, of_part, width)?;
            }
            rows = rest;
        }
        Ok(())
    }

    /// What makes of a layer's rows the few that are wanted, part after part, for [`put_folded`](Self::put_folded). None, for every
    /// layer then, where some part wants rows as they are, or mixes layers before it folds them.
    pub fn terms(&self, layer: usize) -> Option<Terms> {
        let (mut first, mut terms, mut reduce) = (0, Terms::default(), None);
        for part in &self.parts {
            match &part.states {
                Some(Destination::Fold(Fold { plan, mix, run, first: of_plan, .. })) if plan.commutes_with(mix) => {
                    if reduce.replace(plan.reduce()).is_some_and(|before| before != plan.reduce()) {
                        return None;
                    }
                    if mix.has(layer) {
                        plan.add_terms(run, *of_plan, first, &mut terms);
                    }
                }
                Some(_) => return None,
                None => {}
            }
            first += part.rows;
        }
        terms.largest = reduce == Some(Reduce::Max);
        Some(terms)
    }

    /// Takes what was made of a layer's rows by its [`terms`](Self::terms).
    pub fn put_folded(&mut self, layer: usize, mut rows: &[f32]) -> Result<()> {
        let wanted = |part: &Part<'_>| part.states.as_ref().is_some_and(|states| states.wants(layer));
        let gathers = |part: &Part<'_>| match &part.states {
            Some(Destination::Fold(fold)) => fold.run.len(),
            _ => 0,
        };
        let count: usize = self.parts.iter().filter(|part| wanted(part)).map(gathers).sum();
        let width = rows.len().checked_div(count).unwrap_or(0);
        for part in self.parts.iter_mut().filter(|part| wanted(part)) {
            if let Some(Destination::Fold(fold)) = &mut part.states {
                let (of_part, rest) = rows.split_at(fold.run.len() * width);
                fold.put_folded(layer, of_part, width)?;
                rows = rest;
            }
        }
        Ok(())
    }

    /// The rows that anything here takes of the deepest layer, ascending; none if that is all of them or almost.
    pub fn last_rows(&self, chunk: &Chunk<'_>) -> Option<Vec<usize>> {
        let (deepest, mut first) = (self.deepest(), 0);
        let mut rows: Vec<usize> = self.pooled().into_iter().map(|text| chunk.texts[text].start).collect();
        for part in &self.parts {
            match &part.states {
                Some(Destination::Fold(fold)) if fold.mix.has(deepest) => {
                    rows.extend(fold.plan.sources(&fold.run).map(|row| first + row - fold.first));
                }
                Some(rows @ Destination::Rows(_)) if rows.wants(deepest) => return None,
                _ => {}
            }
            first += part.rows;
        }
        rows.sort_unstable();
        rows.dedup();
        // Copying rows together has its price too.
        (rows.len() < chunk.ids.len() / 4 * 3).then_some(rows)
    }

    /// [`put`](Self::put) of some rows of a chunk of `count`: those that [`last_rows`](Self::last_rows) named.
    pub fn put_some(&mut self, layer: usize, some: &[f32], rows: &[usize], count: usize) -> Result<()> {
        if !self.wants(layer) || rows.is_empty() {
            return Ok(());
        }
        let width = some.len() / rows.len();
        let mut all: Vec<f32> = bert_layers_kernels::try_zeroed(count * width)?;
        for (row, from) in rows.iter().zip(some.chunks_exact(width)) {
            all[row * width..(row + 1) * width].copy_from_slice(from);
        }
        self.put(layer, &all)
    }

    /// The sequences of the chunk that the pooler is wanted of.
    pub fn pooled(&self) -> Vec<usize> {
        let mut first = 0;
        let mut pooled = Vec::new();
        for part in &self.parts {
            if part.pooler.is_some() {
                pooled.extend(first..first + part.sequences);
            }
            first += part.sequences;
        }
        pooled
    }

    /// Takes the pooler's output of the sequences that [`pooled`](Self::pooled) names.
    pub fn put_pooler(&mut self, mut rows: &[f32]) -> Result<()> {
        let wanted = || self.parts.iter().filter(|part| part.pooler.is_some());
        let width = rows.len().checked_div(wanted().map(|part| part.sequences).sum()).unwrap_or(0);
        for part in &mut self.parts {
            if let Some(pooler) = &mut part.pooler {
                let (of_part, rest) = rows.split_at(part.sequences * width);
                pooler.put(0, of_part, width)?;
                rows = rest;
            }
        }
        Ok(())
    }

    /// The last layer that anything asks for: nothing beyond it needs computing.
    pub fn deepest(&self) -> usize {
        self.parts.iter().map(|part| part.deepest).max().unwrap_or(0)
    }
}

impl Destination<'_> {
    fn wants(&self, layer: usize) -> bool {
        match self {
            Destination::Rows(layers) => layers.get(layer).is_some_and(Option::is_some),
            Destination::Fold(fold) => fold.mix.has(layer),
        }
    }

    fn put(&mut self, layer: usize, rows: &[f32], width: usize) -> Result<()> {
        match self {
            Destination::Rows(layers) => {
                if let Some(out) = layers.get_mut(layer).and_then(Option::take) {
                    out.copy_from_slice(rows);
                }
                Ok(())
            }
            Destination::Fold(fold) => fold.put(layer, rows, width),
        }
    }
}

impl Fold<'_> {
    fn put(&mut self, layer: usize, rows: &[f32], width: usize) -> Result<()> {
        let Self { plan, mix, run, first, targets, mixed } = self;
        if !mix.has(layer) {
            return Ok(());
        }
        if let Mix::Each(layers) = mix {
            for (_, targets) in layers.iter().zip(targets).filter(|(each, _)| **each == layer) {
                plan.fold(run, *first, rows, width, targets);
            }
            return Ok(());
        }
        let begun = !mixed.is_empty();
        if !begun {
            *mixed = bert_layers_kernels::try_zeroed(rows.len())?;
        }
        mix.add(layer, !begun, rows, mixed);
        if layer == mix.deepest() {
            targets.iter_mut().for_each(|targets| plan.fold(run, *first, mixed, width, targets));
            *mixed = Vec::new();
        }
        Ok(())
    }

    /// Takes a layer's rows that are folded already, one a gather.
    fn put_folded(&mut self, layer: usize, rows: &[f32], width: usize) -> Result<()> {
        let Self { mix, targets, mixed, .. } = self;
        let copy = |rows: &[f32], targets: &mut Vec<&mut [f32]>| {
            rows.chunks_exact(width.max(1)).zip(targets).for_each(|(row, target)| target.copy_from_slice(row));
        };
        if let Mix::Each(layers) = mix {
            layers.iter().zip(targets).filter(|(each, _)| **each == layer).for_each(|(_, targets)| copy(rows, targets));
            return Ok(());
        }
        let begun = !mixed.is_empty();
        if !begun {
            *mixed = bert_layers_kernels::try_zeroed(rows.len())?;
        }
        mix.add(layer, !begun, rows, mixed);
        if layer == mix.deepest() {
            targets.iter_mut().for_each(|targets| copy(mixed, targets));
            *mixed = Vec::new();
        }
        Ok(())
    }
}
