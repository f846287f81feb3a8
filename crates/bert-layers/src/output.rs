//! A result's memory while it is being written.

use std::ops::Range;

use crate::attentions::{Attentions, Shape};
use crate::batch::PackedBatch;
use crate::fold::{Mix, Plan, Target};
use crate::memory::{self, Promise};
use crate::result_buffer::ResultBuffer;
use crate::sink::{Destination, Fold, Part};
use crate::{Error, Result};

/// What a call asks for.
pub(crate) struct Wanted {
    /// Which layers, and whether they are mixed; none where only the pooler is wanted.
    pub mix: Option<Mix>,
    /// How rows become fewer; none: they stay as they are.
    pub plan: Option<Plan>,
    /// How the slots of a mix lie.
    pub layout: Layout,
    /// Whether the pooler's output is wanted, a row a sequence or as planned.
    pub pooler: Option<Option<Plan>>,
    /// Which attention weights are kept; sequences are texts then.
    pub attentions: Option<Shape>,
}

/// How the rows of several layers lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[layer][row][hidden]`.
    LayerFirst,
    /// `[row][layer][hidden]`.
    RowFirst,
}

/// One or both of the buffers that a call asks for.
pub(crate) struct Output {
    states: Option<Buffer>,
    pooler: Option<Buffer>,
    attentions: Option<Attentions>,
    /// The last layer that anything asks for.
    deepest: usize,
    _promise: Promise,
}

/// The buffers of a finished result.
pub(crate) struct Written {
    /// The hidden states, or what was made of them.
    pub states: ResultBuffer,
    /// The pooler's output, or what was made of it.
    pub pooler: Option<Vec<f32>>,
    /// The attention weights.
    pub attentions: Option<Attentions>,
}

impl Output {
    /// Room for what is wanted of a batch by a model of `num_layers` blocks.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the memory that the process may still use is less.
    pub fn allocate(batch: &PackedBatch<'_>, wanted: Wanted, num_layers: usize, hidden_size: usize) -> Result<Self> {
        let Wanted { mix, plan, layout, pooler, attentions } = wanted;
        let deepest = if pooler.is_some() { num_layers } else { mix.as_ref().map_or(0, Mix::deepest) };
        let states = mix.map(|mix| Contents { rows: batch.len(), mix, plan, layout });
        let pooler = pooler.map(|plan| {
            let layout = Layout::LayerFirst;
            Contents { rows: batch.texts(), mix: Mix::Each(vec![0]), plan, layout }
        });
        let rows = states.iter().chain(&pooler).map(Contents::all_rows).fold(0, u64::saturating_add);
        let bytes = rows.saturating_mul(hidden_size as u64).saturating_mul(size_of::<f32>() as u64);
        let bytes = bytes.saturating_add(attentions.as_ref().map_or(0, Shape::bytes));
        let what = if attentions.is_some() { "the result with its attentions" } else { "the result" };
        let no_room = || Error::OutOfMemory { what, bytes };
        let promise = memory::promise(bytes).map_err(|_| no_room())?;
        let allocate = |shape: Option<Contents>| match shape {
            Some(shape) => Buffer::allocate(shape, hidden_size).map(Some).map_err(|_| no_room()),
            None => Ok(None),
        };
        let attentions = attentions.map(Attentions::allocate).transpose().map_err(|_| no_room())?;
        Ok(Self { states: allocate(states)?, pooler: allocate(pooler)?, attentions, deepest, _promise: promise })
    }

    /// The last layer that anything asks for.
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    /// One part for each run of sequences, which are ascending and do not overlap. Over all calls of this function, each sequence
    /// must be in exactly one run.
    pub fn parts(&mut self, batch: &PackedBatch<'_>, runs: &[Range<usize>]) -> Vec<Part<'_>> {
        let rows: Vec<_> = runs.iter().map(|run| batch.rows(run)).collect();
        let states = self.states.as_mut().map(|buffer| buffer.destinations(runs, &rows));
        let pooler = self.pooler.as_mut().map(|buffer| buffer.destinations(runs, runs));
        let attentions = self.attentions.as_mut().map(|attentions| attentions.parts(runs));
        let (mut states, mut pooler) = (states.into_iter().flatten(), pooler.into_iter().flatten());
        let mut attentions = attentions.into_iter().flatten();
        let part = |(run, rows): (&Range<usize>, Range<usize>)| Part {
            rows: rows.len(),
            sequences: run.len(),
            states: states.next(),
            pooler: pooler.next(),
            attentions: attentions.next().unwrap_or_default(),
            deepest: self.deepest,
        };
        runs.iter().zip(rows).map(part).collect()
    }

    /// The result, when every part is written.
    pub fn finish(self) -> Written {
        let pooler = self.pooler.map(|pooler| pooler.finish().into_vec());
        let states = self.states.map(Buffer::finish).unwrap_or_default();
        Written { states, pooler, attentions: self.attentions }
    }
}

/// What goes into one buffer.
struct Contents {
    /// Rows of the packed batch, or its sequences: what the encoder gives.
    rows: usize,
    mix: Mix,
    plan: Option<Plan>,
    layout: Layout,
}

impl Contents {
    fn rows(&self) -> usize {
        self.plan.as_ref().map_or(self.rows, Plan::rows)
    }

    fn spares(&self) -> usize {
        self.plan.as_ref().map_or(0, Plan::spares)
    }

    fn all_rows(&self) -> u64 {
        (self.rows() as u64 + self.spares() as u64).saturating_mul(self.mix.slots() as u64)
    }
}

struct Buffer {
    shape: Contents,
    width: usize,
    data: ResultBuffer,
    /// `[slot][spare][width]`.
    spares: Vec<f32>,
}

impl Buffer {
    fn allocate(shape: Contents, width: usize) -> Result<Self> {
        let slots = shape.mix.slots();
        let len = slots * shape.rows() * width;
        let data = match shape.plan {
            None => ResultBuffer::allocate(len)?, // the encoder writes all of it
            Some(_) => ResultBuffer::zeroed(len)?,
        };
        let spares = bert_layers_kernels::try_zeroed(slots * shape.spares() * width)?;
        Ok(Self { shape, width, data, spares })
    }

    /// Where the rows of each run go.
    fn destinations(&mut self, runs: &[Range<usize>], rows: &[Range<usize>]) -> Vec<Destination<'_>> {
        match self.shape.plan {
            None => self.as_they_are(rows),
            Some(_) => self.folded(runs, rows),
        }
    }

    fn as_they_are(&mut self, runs: &[Range<usize>]) -> Vec<Destination<'_>> {
        let layers: &[usize] = match &self.shape.mix {
            Mix::Each(layers) => layers,
            Mix::Weighted(_) | Mix::Max(_) => &[], // mixes have a plan
        };
        let count = layers.iter().max().map_or(0, |deepest| deepest + 1);
        let nothing = || (0..count).map(|_| None).collect::<Vec<Option<&mut [f32]>>>();
        let mut kept: Vec<_> = runs.iter().map(|_| nothing()).collect();
        for (&layer, mut rest) in layers.iter().zip(self.data.chunks_mut((self.shape.rows * self.width).max(1))) {
            let mut at = 0;
            for (kept, rows) in kept.iter_mut().zip(runs) {
                let _of_other_runs = rest.split_off_mut(..(rows.start - at) * self.width);
                kept[layer] = rest.split_off_mut(..rows.len() * self.width);
                at = rows.end;
            }
        }
        kept.into_iter().map(Destination::Rows).collect()
    }

    fn folded(&mut self, runs: &[Range<usize>], rows: &[Range<usize>]) -> Vec<Destination<'_>> {
        let Self { shape: Contents { mix, plan, layout, .. }, width, data, spares } = self;
        let (Some(plan), width) = (plan.as_ref(), *width) else { return Vec::new() };
        let gathers: Vec<_> = runs.iter().map(|run| plan.run(run)).collect();
        // Only the rows between the first and the last that these runs write are taken apart.
        let targets = || gathers.iter().flat_map(|run| plan.targets(run));
        let of_rows =
            around(targets().filter_map(|target| if let Target::Row(row) = target { Some(row) } else { None }));
        let of_spares = around(targets().filter_map(|t| if let Target::Spare(spare) = t { Some(spare) } else { None }));
        let mut row_slices = layout.take_apart(data, plan.rows(), mix.slots(), width, &of_rows);
        let mut spare_slices = Layout::LayerFirst.take_apart(spares, plan.spares(), mix.slots(), width, &of_spares);
        let mut target = |slot: usize, target: Target| {
            // Each is there once: a plan gives no two gathers one target.
            let slice = match target {
                Target::Row(row) => row_slices[slot][row - of_rows.start].take(),
                Target::Spare(spare) => spare_slices[slot][spare - of_spares.start].take(),
            };
            slice.unwrap_or_default()
        };
        let mut fold = |(run, rows): (Range<usize>, &Range<usize>)| {
            let mut of_slot = |slot| plan.targets(&run).map(|each| target(slot, each)).collect();
            let targets = (0..mix.slots()).map(&mut of_slot).collect();
            Destination::Fold(Fold { plan, mix, first: rows.start, run, targets, mixed: Vec::new() })
        };
        gathers.iter().cloned().zip(rows).map(&mut fold).collect()
    }

    /// The data, with the spare rows folded in.
    fn finish(self) -> ResultBuffer {
        let Self { shape, width, mut data, spares } = self;
        let Some(plan) = &shape.plan else { return data };
        let slots = shape.mix.slots();
        for (slot, spares) in spares.chunks((plan.spares() * width).max(1)).enumerate() {
            plan.fold_spares(spares, width, &mut data, |row| shape.layout.place(plan.rows(), slots, slot, row));
        }
        data
    }
}

impl Layout {
    /// Where a row of a slot is among all rows of all slots.
    fn place(self, rows: usize, slots: usize, slot: usize, row: usize) -> usize {
        match self {
            Layout::LayerFirst => slot * rows + row,
            Layout::RowFirst => row * slots + slot,
        }
    }

    /// The rows `range` of a buffer, each by itself: `[slot][row]`.
    fn take_apart<'d>(
        self,
        data: &'d mut [f32],
        rows: usize,
        slots: usize,
        width: usize,
        range: &Range<usize>,
    ) -> Vec<Vec<Option<&'d mut [f32]>>> {
        let mut apart: Vec<Vec<_>> = (0..slots).map(|_| Vec::with_capacity(range.len())).collect();
        match self {
            Layout::LayerFirst => {
                for (apart, data) in apart.iter_mut().zip(data.chunks_mut((rows * width).max(1))) {
                    apart.extend(data[range.start * width..range.end * width].chunks_mut(width).map(Some));
                }
            }
            Layout::RowFirst => {
                let row = slots * width;
                for data in data[range.start * row..range.end * row].chunks_mut(row.max(1)) {
                    apart.iter_mut().zip(data.chunks_mut(width)).for_each(|(apart, data)| apart.push(Some(data)));
                }
            }
        }
        apart
    }
}

/// The smallest range that holds all of these.
fn around(indices: impl Iterator<Item = usize>) -> Range<usize> {
    let (start, end) = indices.fold((usize::MAX, 0), |(start, end), i| (start.min(i), end.max(i + 1)));
    start.min(end)..end
}

#[cfg(test)]
mod tests;
