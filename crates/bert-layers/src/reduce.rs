//! From the encoder's rows to the rows that a call asks for.

use crate::batch::PackedBatch;
use crate::encoder::Encoder;
use crate::fold::{Mix, Plan, Reduce};
use crate::groups::Groups;
use crate::output::{Layout, Output, Wanted, Written};
use crate::sequences::Sequences;
use crate::sink::Sink;
use crate::{Cancel, Result};

impl Encoder {
    /// Computes sequences, and makes a row of each group of tokens, of each layer of `mix` or of their mix.
    #[allow(clippy::too_many_arguments)] // what is wanted, in its parts
    pub(crate) fn reduce(
        &self,
        sequences: &Sequences,
        mix: Mix,
        layout: Layout,
        groups: &Groups,
        reduce: Reduce,
        pooler: Option<Option<Plan>>,
        cancel: &Cancel,
    ) -> Result<Written> {
        let batch = sequences.batch();
        let maximum = reduce == Reduce::Max || matches!(mix, Mix::Max(_));
        if !(sequences.averages() && maximum) {
            let plan = Some(sequences.plan(reduce, groups));
            return self.run(&batch, Wanted { mix: Some(mix), plan, layout, pooler }, cancel);
        }
        // A maximum of averages over windows: the averages, of every layer, must be there first.
        let layers: Vec<usize> = (0..=mix.deepest()).filter(|&layer| mix.has(layer)).collect();
        let tokens = &sequences.tokens;
        let averages = Wanted {
            mix: Some(Mix::Each(layers.clone())),
            plan: Some(sequences.plan(Reduce::Sum, &Groups::tokens(&tokens.starts))),
            layout: Layout::LayerFirst,
            pooler,
        };
        let averages = self.run(&batch, averages, cancel)?;
        let plan = Plan::of_texts(reduce, groups, &tokens.starts);
        let (batch, config) = (PackedBatch::new(tokens), self.config());
        let wanted = Wanted { mix: Some(mix), plan: Some(plan), layout, pooler: None };
        let mut out = Output::allocate(&batch, wanted, config.num_layers(), config.hidden_size())?;
        let all = 0..batch.texts();
        let mut sink = Sink::new(out.parts(&batch, std::slice::from_ref(&all)));
        for (layer, rows) in layers.into_iter().zip(averages.states.chunks(tokens.len() * config.hidden_size())) {
            sink.put(layer, rows)?;
        }
        drop(sink);
        Ok(Written { states: out.finish().states, pooler: averages.pooler })
    }
}
