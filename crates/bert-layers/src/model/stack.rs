//! What encoders have in common: an embedding, and blocks one after the other, each with a layer's hidden states.

use std::ops::Range;

use super::give::Giver;
use crate::Result;
use crate::batch::Chunk;
use crate::ops::Ops;
use crate::sink::Sink;

/// What a block is to compute beside its output.
pub(super) struct Wanted<'r, 'a> {
    /// Where the output's rows are kept.
    pub keep: Option<&'r mut [f32]>,
    /// Which texts' attention weights are to be written, and where.
    pub attentions: Vec<(Range<usize>, &'a mut [f32])>,
    /// The only rows of the output that anybody wants: the output has these and no others. None: all.
    pub rows: Option<&'a [usize]>,
}

/// The rows of the deepest layer that was computed.
pub(super) struct Last<R> {
    pub hidden: R,
    /// Which rows of the chunk they are. None: all.
    pub rows: Option<Vec<usize>>,
}

/// One block of a stack.
pub(super) trait Block<O: Ops> {
    /// The linear layer that reads the block's input first.
    fn reader(&self) -> &O::Linear;

    /// The block's output; `next` reads it first.
    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        hidden: O::Rows<'_>,
        next: Option<&O::Linear>,
        wanted: Wanted<'r, '_>,
    ) -> Result<O::Rows<'r>>;

    /// [Settles](Ops::settle) the block's linear layers.
    fn settle(&mut self, ops: &O) -> Result<()>;
}

/// Loads blocks with `block`: `uses` says which block each layer is, `0..count` where each has its own. Layers that share one follow
/// each other, and a new one has the next number. `input` embeds the samples, which are run through all layers where they are
/// wanted; a block is settled when it has seen them in each of its layers.
pub(super) fn load<'s, O: Ops, B: Block<O>>(
    ops: &O,
    uses: impl IntoIterator<Item = usize>,
    samples: &Chunk<'_>,
    input: impl FnOnce() -> Result<O::Rows<'s>>,
    mut block: impl FnMut(usize) -> Result<B>,
) -> Result<Vec<B>> {
    let mut hidden = if ops.wants_samples() { Some(input()?) } else { None };
    let mut blocks: Vec<B> = Vec::new();
    let mut uses = uses.into_iter().peekable();
    while let Some(used) = uses.next() {
        if used == blocks.len() {
            blocks.push(block(used)?);
        }
        if let Some(input) = hidden {
            let wanted = Wanted { keep: None, attentions: Vec::new(), rows: None };
            hidden = Some(blocks[used].forward(ops, samples, input, None, wanted)?);
            if uses.peek() != Some(&used) {
                blocks[used].settle(ops)?;
            }
        }
    }
    Ok(blocks)
}

/// Runs a chunk through the embedding and the blocks, one a layer, up to the deepest layer that `sink` wants, and gives it each
/// layer's rows. Returns the last of them. The last block computes only what is returned, after its attention.
pub(super) fn forward<'b, 'r, O: Ops + 'b, B: Block<O> + 'b>(
    ops: &O,
    chunk: &Chunk<'_>,
    blocks: impl IntoIterator<Item = &'b B>,
    sink: &mut Sink<'r>,
    input: impl FnOnce(Option<&'b O::Linear>, Option<&'r mut [f32]>) -> Result<O::Rows<'r>>,
) -> Result<Last<O::Rows<'r>>> {
    let blocks: Vec<&B> = blocks.into_iter().take(sink.deepest()).collect();
    // What reads a layer's output first: the next block, if there is one to be computed.
    let reader = |block: usize| blocks.get(block).map(|block| block.reader());
    let lend = |sink: &mut Sink<'r>, layer| if O::IN_PLACE { sink.lend(layer) } else { None };
    let (mut giver, count) = (Giver::new(ops), chunk.ids.len());
    let mut hidden = input(reader(0), lend(sink, 0))?;
    giver.give(0, &hidden, None, count, sink)?;
    let mut rows = None;
    for (i, block) in blocks.iter().enumerate() {
        let layer = i + 1;
        if layer == blocks.len() {
            rows = sink.last_rows(chunk);
        }
        let (keep, attentions) = (lend(sink, layer), sink.take_attentions(layer));
        let wanted = Wanted { keep, attentions, rows: rows.as_deref() };
        hidden = block.forward(ops, chunk, hidden, reader(layer), wanted)?;
        giver.give(layer, &hidden, rows.as_deref(), count, sink)?;
    }
    giver.finish(sink)?;
    Ok(Last { hidden, rows })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bert_layers_kernels::{Kernels, Solo};

    use super::*;
    use crate::Dtype;
    use crate::ops::Cpu;
    use crate::weights::Tensor;

    /// A block that passes its input on and says what is done with it.
    struct Logging {
        block: usize,
        linear: <Cpu as Ops>::Linear,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl Logging {
        fn say(&self, what: &str) {
            self.log.lock().expect("no panic").push(format!("{what} {}", self.block));
        }
    }

    impl Block<Cpu> for Logging {
        fn reader(&self) -> &<Cpu as Ops>::Linear {
            &self.linear
        }

        fn forward<'r>(
            &self,
            ops: &Cpu,
            chunk: &Chunk<'_>,
            hidden: <Cpu as Ops>::Rows<'_>,
            _: Option<&<Cpu as Ops>::Linear>,
            _: Wanted<'r, '_>,
        ) -> Result<<Cpu as Ops>::Rows<'r>> {
            self.say("run");
            ops.select(&hidden, &(0..chunk.ids.len()).collect::<Vec<_>>())
        }

        fn settle(&mut self, _: &Cpu) -> Result<()> {
            self.say("settle");
            Ok(())
        }
    }

    fn log(dtype: Dtype, uses: &[usize]) -> Vec<String> {
        let ops = Cpu::new(Kernels::portable(), dtype, Arc::new(Solo));
        let (ids, texts) = ([0, 1, 1], [0..3, 3..3]);
        let samples = Chunk { ids: &ids, type_ids: &ids, texts: &texts, mask: None };
        let tensor = |shape: &[usize]| Tensor { shape: shape.to_vec(), data: vec![1.0; shape.iter().product()] };
        let log = Arc::default();
        let input = || {
            let table = ops.load_embedding(tensor(&[2, 4]))?;
            let norm = ops.load_layer_norm(tensor(&[4]), Some(tensor(&[4])), 1e-5)?;
            ops.embed_norm(&[(&table, &ids[..])], &norm, None, None)
        };
        let block = |block| {
            let linear = ops.load_head(tensor(&[4, 4]), tensor(&[4]))?;
            let new = Logging { block, linear, log: Arc::clone(&log) };
            new.say("load");
            Ok(new)
        };
        load(&ops, uses.iter().copied(), &samples, input, block).expect("nothing that could fail");
        log.lock().expect("no panic").clone()
    }

    /// What int8 keeps of a block's inputs is chosen when it has seen the samples in all layers that the block is.
    #[test]
    fn a_shared_block_is_settled_after_its_last_layer() {
        let int8 = log(Dtype::Int8, &[0, 0, 0, 1, 2, 2]);
        let expected = "load 0, run 0, run 0, run 0, settle 0, load 1, run 1, settle 1, load 2, run 2, run 2, settle 2";
        assert_eq!(int8.join(", "), expected);
        assert_eq!(log(Dtype::Float32, &[0, 0, 1]).join(", "), "load 0, load 1");
    }
}
