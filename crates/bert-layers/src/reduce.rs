//! From the encoder's rows to the rows that a call asks for.

use crate::batch::PackedBatch;
use crate::fold::{Mix, Plan, Reduce};
use crate::groups::Groups;
use crate::output::{Layout, Output, Wanted, Written};
use crate::sequences::Sequences;
use crate::sink::Sink;
use crate::{Result, Tokens};

/// A row of each group of tokens, of each layer of `mix` or of their mix.
pub(crate) struct Reduction {
    pub mix: Mix,
    pub layout: Layout,
    pub groups: Groups,
    pub reduce: Reduce,
}

/// What is left to do when the encoder has computed what was wanted.
pub(crate) enum Rest {
    Nothing,
    /// A maximum of averages over windows: the averages, of these layers, have to be there first.
    Maximum {
        out: Box<Output>,
        layers: Vec<usize>,
    },
}

impl Reduction {
    /// What to compute of the sequences for it, by a model of `num_layers` blocks, and what to do then.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the rows that are made then would have no room.
    pub fn wanted(
        self,
        sequences: &Sequences,
        pooler: Option<Option<Plan>>,
        num_layers: usize,
        hidden_size: usize,
    ) -> Result<(Wanted, Rest)> {
        let maximum = self.reduce == Reduce::Max || matches!(self.mix, Mix::Max(_));
        if !(sequences.averages() && maximum) {
            let Self { mix, layout, groups, reduce } = self;
            let plan = Some(sequences.plan(reduce, &groups));
            return Ok((Wanted { mix: Some(mix), plan, layout, pooler, attentions: None }, Rest::Nothing));
        }
        let layers: Vec<usize> = (0..=self.mix.deepest()).filter(|&layer| self.mix.has(layer)).collect();
        let averages = Wanted {
            mix: Some(Mix::Each(layers.clone())),
            plan: Some(sequences.plan(Reduce::Sum, &Groups::tokens(&sequences.tokens.starts))),
            layout: Layout::LayerFirst,
            pooler,
            attentions: None,
        };
        let tokens = &sequences.tokens;
        let plan = Plan::of_texts(self.reduce, &self.groups, &tokens.starts);
        let maximum =
            Wanted { mix: Some(self.mix), plan: Some(plan), layout: self.layout, pooler: None, attentions: None };
        let out = Output::allocate(&PackedBatch::new(tokens), maximum, num_layers, hidden_size)?;
        Ok((averages, Rest::Maximum { out: Box::new(out), layers }))
    }
}

impl Rest {
    /// Does it.
    pub fn apply(self, tokens: &Tokens, written: Written, hidden_size: usize) -> Result<Written> {
        let Rest::Maximum { mut out, layers } = self else { return Ok(written) };
        let batch = PackedBatch::new(tokens);
        let all = 0..batch.texts();
        let mut sink = Sink::new(out.parts(&batch, std::slice::from_ref(&all)));
        for (layer, rows) in layers.into_iter().zip(written.states.chunks(tokens.len() * hidden_size)) {
            sink.put(layer, rows)?;
        }
        drop(sink);
        Ok(Written { states: out.finish().states, ..written })
    }
}
