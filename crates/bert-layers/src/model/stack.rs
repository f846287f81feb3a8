//! What encoders have in common: an embedding, and blocks one after the other, each with a layer's hidden states.

use std::ops::Range;

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

/// Loads blocks with `block`: `uses` says which block each layer is, `0..count` where each has its own, and a new one has the next
/// number. `input` embeds the samples, which are run through each block where they are wanted; a block is settled when it has
/// seen them in all its layers.
pub(super) fn load<'s, O: Ops, B: Block<O>>(
    ops: &O,
    uses: impl IntoIterator<Item = usize>,
    samples: &Chunk<'_>,
    input: impl FnOnce() -> Result<O::Rows<'s>>,
    mut block: impl FnMut(usize) -> Result<B>,
) -> Result<Vec<B>> {
    let uses: Vec<usize> = uses.into_iter().collect();
    let mut hidden = if ops.wants_samples() { Some(input()?) } else { None };
    let mut blocks: Vec<B> = Vec::with_capacity(uses.len().min(1024));
    for (layer, &used) in uses.iter().enumerate() {
        if used == blocks.len() {
            blocks.push(block(used)?);
        }
        if let Some(input) = hidden {
            let wanted = Wanted { keep: None, attentions: Vec::new() };
            hidden = Some(blocks[used].forward(ops, samples, input, None, wanted)?);
            if !uses[layer + 1..].contains(&used) {
                blocks[used].settle(ops)?;
            }
        }
    }
    Ok(blocks)
}

/// Runs a chunk through the embedding and the blocks, one a layer, up to the deepest layer that `sink` wants, and gives it each
/// layer's rows. Returns the last of them.
pub(super) fn forward<'b, 'r, O: Ops + 'b, B: Block<O> + 'b>(
    ops: &O,
    chunk: &Chunk<'_>,
    blocks: impl IntoIterator<Item = &'b B>,
    sink: &mut Sink<'r>,
    input: impl FnOnce(Option<&'b O::Linear>, Option<&'r mut [f32]>) -> Result<O::Rows<'r>>,
) -> Result<O::Rows<'r>> {
    let blocks: Vec<&B> = blocks.into_iter().take(sink.deepest()).collect();
    // What reads a layer's output first: the next block, if there is one to be computed.
    let reader = |block: usize| blocks.get(block).map(|block| block.reader());
    let mut hidden = input(reader(0), sink.lend(0))?;
    give(ops, 0, &hidden, sink)?;
    for (i, block) in blocks.iter().enumerate() {
        let wanted = Wanted { keep: sink.lend(i + 1), attentions: sink.take_attentions(i + 1) };
        hidden = block.forward(ops, chunk, hidden, reader(i + 1), wanted)?;
        give(ops, i + 1, &hidden, sink)?;
    }
    Ok(hidden)
}

/// Gives a layer's rows to the sink, if it wants them and did not lend its own.
fn give<O: Ops>(ops: &O, layer: usize, hidden: &O::Rows<'_>, sink: &mut Sink<'_>) -> Result<()> {
    if sink.wants(layer) { sink.put(layer, &ops.read(hidden)?) } else { Ok(()) }
}
