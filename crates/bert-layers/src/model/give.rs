//! How a layer's rows come from the operations to the sink: at once, or while the next layers are computed.

use std::collections::VecDeque;

use crate::Result;
use crate::ops::{Ops, Reading};
use crate::sink::Sink;

/// Layers that may be on their way at a time: with one, a device would wait for the host to unpack it.
const COMING: usize = 2;

/// Gives layers to a sink, in ascending order.
pub(super) struct Giver<'o, O> {
    ops: &'o O,
    coming: VecDeque<Coming>,
}

/// A layer on its way.
struct Coming {
    layer: usize,
    /// Whether these are the few rows that the sink's parts make of it.
    folded: bool,
    reading: Box<dyn Reading>,
}

impl<'o, O: Ops> Giver<'o, O> {
    pub fn new(ops: &'o O) -> Self {
        Self { ops, coming: VecDeque::new() }
    }

    /// Gives a layer's rows, if the sink wants them and did not lend its own. `only` are those of a chunk of `count` that were computed;
    /// none: all.
    pub fn give(
        &mut self,
        layer: usize,
        hidden: &O::Rows<'_>,
        only: Option<&[usize]>,
        count: usize,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        if !sink.wants(layer) {
            return Ok(());
        }
        let folded = match (O::IN_PLACE, sink.terms(layer)) {
            (false, Some(terms)) if terms.ends.is_empty() => return sink.put_folded(layer, &[]),
            (false, Some(mut terms)) => {
                if let Some(only) = only {
                    // A row of the chunk → its place among those that were computed, which all that a sink takes are.
                    let place = |row: u32| only.partition_point(|&other| other < row as usize) as u32;
                    terms.rows.iter_mut().for_each(|row| *row = place(*row));
                }
                self.ops.fold(hidden, &terms)?
            }
            _ => None,
        };
        if let (None, Some(only)) = (&folded, only) {
            self.finish(sink)?;
            return sink.put_some(layer, &self.ops.read(hidden)?, only, count);
        }
        let reading = match &folded {
            Some(rows) => self.ops.begin_read(rows)?,
            None => self.ops.begin_read(hidden)?,
        };
        if let Some(reading) = reading {
            self.coming.push_back(Coming { layer, folded: folded.is_some(), reading });
            return self.take(COMING, sink);
        }
        match &folded {
            Some(rows) => sink.put_folded(layer, &self.ops.read(rows)?),
            None => sink.put(layer, &self.ops.read(hidden)?),
        }
    }

    /// Gives all that are on their way.
    pub fn finish(&mut self, sink: &mut Sink<'_>) -> Result<()> {
        self.take(0, sink)
    }

    /// Waits until no more than so many are on their way.
    fn take(&mut self, left: usize, sink: &mut Sink<'_>) -> Result<()> {
        while self.coming.len() > left
            && let Some(Coming { layer, folded, reading }) = self.coming.pop_front()
        {
            if !folded && let Some(out) = sink.lend(layer) {
                reading.finish(out)?;
                continue;
            }
            let mut rows: Vec<f32> = bert_layers_kernels::try_zeroed(reading.len())?;
            reading.finish(&mut rows)?;
            if folded { sink.put_folded(layer, &rows) } else { sink.put(layer, &rows) }?;
        }
        Ok(())
    }
}
