//! BERT (Devlin et al. 2018), with the names of the checkpoint: `embeddings`, `encoder.layer.N`, `pooler`; and what the families
//! that are BERT with other names and embeddings are made of.

use std::sync::Arc;

use bert_layers_kernels::{Activation, DistanceBias};

use super::Model;
use super::embeddings::{Embeddings, Index, Table};
use super::load::Loader;
use super::pooler::Pooler;
use super::positions::Positions;
use super::stack::{self, Block, Wanted};
use crate::Result;
use crate::batch::Chunk;
use crate::config::{BertConfig, HiddenAct};
use crate::ops::{Attention, For, Ops};
use crate::sink::Sink;
use crate::weights::NameRules;

/// What BERT's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules {
    base: "bert",
    anchor: "embeddings.word_embeddings.weight",
    rooms: &["embeddings.", "encoder.", "pooler."],
    ignored: &["embeddings.position_ids"],
    aliases: &[("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")], // before 2019
};

/// What BERT calls the parts of `encoder.layer.N`.
pub(super) const BLOCK: BlockNames = BlockNames {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_layer_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    intermediate_act: "intermediate.intermediate_act_fn",
    output: "output.dense",
    layer_norm: "output.LayerNorm",
};

/// The tables of BERT's embeddings.
pub(super) fn tables(config: &BertConfig, positions: Positions) -> [Table; 3] {
    [
        ("word_embeddings", config.vocab_size, Index::Id),
        ("token_type_embeddings", config.type_vocab_size, Index::TypeId),
        ("position_embeddings", config.max_position_embeddings, Index::Position(positions)),
    ]
}

/// BERT's blocks.
pub(super) fn blocks(config: &BertConfig) -> Blocks {
    Blocks {
        layers: config.num_hidden_layers,
        groups: config.num_hidden_layers,
        at: |block| format!("encoder.layer.{block}"),
        names: &BLOCK,
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        intermediate: config.intermediate_size,
        act: config.hidden_act,
        eps: config.layer_norm_eps,
        bias: None,
    }
}

/// Loads a BERT; `samples` are run through each block that wants them.
pub(super) fn load<O: Ops>(load: Loader<'_, O>, config: &BertConfig, samples: &Chunk<'_>) -> Result<BertModel<O>> {
    with_tables(load, config, &tables(config, Positions::FromZero), samples)
}

/// Loads a model that differs from BERT in its tables only.
pub(super) fn with_tables<O: Ops>(
    mut load: Loader<'_, O>,
    config: &BertConfig,
    tables: &[Table],
    samples: &Chunk<'_>,
) -> Result<BertModel<O>> {
    let embeddings = Embeddings::load(&mut load, tables, config.hidden_size, config.layer_norm_eps)?;
    BertModel::load(load, embeddings, &blocks(config), Some("pooler.dense"), samples)
}

/// The encoder: embeddings, a stack of blocks, and a pooler where the checkpoint has one.
pub(super) struct BertModel<O: Ops> {
    embeddings: Embeddings<O>,
    blocks: Vec<BertLayer<O>>,
    /// The block that each layer is.
    uses: Vec<usize>,
    pooler: Option<Pooler<O>>,
}

impl<O: Ops> BertModel<O> {
    /// Loads what comes after the embeddings; `samples` are run through each block that wants them.
    pub fn load(
        mut load: Loader<'_, O>,
        embeddings: Embeddings<O>,
        blocks: &Blocks,
        pooler: Option<&str>,
        samples: &Chunk<'_>,
    ) -> Result<Self> {
        let ops = load.ops;
        let input = || embeddings.forward(ops, samples, None, None);
        let block = |i| BertLayer::load(&mut load, blocks, &(blocks.at)(i));
        let loaded = stack::load(ops, blocks.uses(), samples, input, block)?;
        let pooler = match pooler {
            Some(name) => Pooler::load(&mut load, name, blocks.hidden)?,
            None => None,
        };
        Ok(Self { embeddings, blocks: loaded, uses: blocks.uses().collect(), pooler })
    }
}

impl<O: Ops> Model<O> for BertModel<O> {
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, mut sink: Sink<'_>) -> Result<()> {
        let input = |next, keep| self.embeddings.forward(ops, chunk, next, keep);
        let blocks = self.uses.iter().map(|&block| &self.blocks[block]);
        let last = stack::forward(ops, chunk, blocks, &mut sink, input)?;
        match &self.pooler {
            Some(pooler) => pooler.forward(ops, chunk, &last, &mut sink),
            None => Ok(()),
        }
    }

    fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }
}

/// The blocks of a family that has BERT's.
pub(super) struct Blocks {
    pub layers: usize,
    /// How many blocks there are: as many as layers, unless neighbours share one.
    pub groups: usize,
    /// Where a block's tensors are.
    pub at: fn(usize) -> String,
    pub names: &'static BlockNames,
    pub hidden: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub act: HiddenAct,
    pub eps: f32,
    /// What distances add to the scores of attention.
    pub bias: Option<Arc<DistanceBias>>,
}

impl Blocks {
    /// The block that each layer is, as Transformers' ALBERT has it.
    fn uses(&self) -> impl Iterator<Item = usize> + use<> {
        let share = self.layers as f64 / self.groups as f64;
        (0..self.layers).map(move |layer| (layer as f64 / share) as usize)
    }
}

/// What a family calls the parts of a block.
pub(super) struct BlockNames {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_layer_norm: &'static str,
    pub intermediate: &'static str,
    pub intermediate_act: &'static str,
    pub output: &'static str,
    pub layer_norm: &'static str,
}

/// One block: self-attention and a feed-forward network, each followed by add and norm.
pub(super) struct BertLayer<O: Ops> {
    /// Query, key and value side by side.
    query_key_value: O::Linear,
    heads: usize,
    disentangled: Option<O::Disentangled>,
    bias: Option<Arc<DistanceBias>>,
    attention_output: O::Linear,
    attention_layer_norm: O::LayerNorm,
    intermediate: O::Linear,
    intermediate_act: Activation,
    output: O::Linear,
    layer_norm: O::LayerNorm,
}

impl<O: Ops> BertLayer<O> {
    fn load(load: &mut Loader<'_, O>, blocks: &Blocks, at: &str) -> Result<Self> {
        let &Blocks { names, hidden, .. } = blocks;
        let [query, key, value] = [names.query, names.key, names.value].map(|part| format!("{at}.{part}"));
        let query_key_value = load.linear(&[&query, &key, &value], hidden, hidden)?;
        Self::load_after(query_key_value, None, load, blocks, at)
    }

    /// Loads what comes after query, key and value.
    pub fn load_after(
        query_key_value: O::Linear,
        disentangled: Option<O::Disentangled>,
        load: &mut Loader<'_, O>,
        blocks: &Blocks,
        at: &str,
    ) -> Result<Self> {
        let &Blocks { names, hidden, heads, intermediate, act, eps, .. } = blocks;
        let name = |part: &str| format!("{at}.{part}");
        Ok(Self {
            query_key_value,
            heads,
            disentangled,
            bias: blocks.bias.clone(),
            attention_output: load.linear(&[&name(names.attention_output)], hidden, hidden)?,
            attention_layer_norm: load.layer_norm(&name(names.attention_layer_norm), hidden, eps)?,
            intermediate: load.linear(&[&name(names.intermediate)], intermediate, hidden)?,
            intermediate_act: load.activation(&name(names.intermediate_act), act)?,
            output: load.linear(&[&name(names.output)], hidden, intermediate)?,
            layer_norm: load.layer_norm(&name(names.layer_norm), hidden, eps)?,
        })
    }
}

impl<O: Ops> Block<O> for BertLayer<O> {
    fn reader(&self) -> &O::Linear {
        &self.query_key_value
    }

    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        hidden: O::Rows<'_>,
        next: Option<&O::Linear>,
        wanted: Wanted<'r, '_>,
    ) -> Result<O::Rows<'r>> {
        let Self { query_key_value, attention_output, attention_layer_norm, intermediate, output, .. } = self;
        let (bias, disentangled) = (self.bias.as_deref(), self.disentangled.as_ref());
        let (texts, mask, heads) = (chunk.texts, chunk.mask, self.heads);
        let attention = Attention { bias, disentangled, ..Attention::plain(texts, mask, heads) };
        let qkv = ops.linear(&hidden, query_key_value, Activation::Identity, For::Attention)?;
        for (texts, out) in wanted.attentions {
            ops.attention_probabilities(&qkv, &Attention { texts: &chunk.texts[texts], ..attention }, out)?;
        }
        let context = ops.attention(&qkv, &attention, attention_output)?;
        drop(qkv); // its memory is the next operation's
        let attended =
            ops.linear_add_norm(&context, attention_output, &hidden, attention_layer_norm, Some(intermediate), None)?;
        let inner = ops.linear(&attended, intermediate, self.intermediate_act, For::Linear(output))?;
        ops.linear_add_norm(&inner, output, &attended, &self.layer_norm, next, wanted.keep)
    }

    fn settle(&mut self, ops: &O) -> Result<()> {
        for linear in [&mut self.query_key_value, &mut self.attention_output, &mut self.intermediate, &mut self.output]
        {
            ops.settle(linear)?;
        }
        Ok(())
    }
}
