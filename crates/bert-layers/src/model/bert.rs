//! BERT (Devlin et al. 2018), with the names of the checkpoint: `embeddings`, `encoder.layer.N`, `pooler`.

use bert_layers_kernels::Activation;

use super::Model;
use super::load::Loader;
use super::pooler::Pooler;
use super::stack::{self, Block, Wanted};
use crate::Result;
use crate::batch::Chunk;
use crate::config::BertConfig;
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

/// The encoder: embeddings, a stack of blocks, and a pooler where the checkpoint has one.
pub(super) struct BertModel<O: Ops> {
    embeddings: BertEmbeddings<O>,
    layer: Vec<BertLayer<O>>,
    pooler: Option<Pooler<O>>,
}

impl<O: Ops> BertModel<O> {
    /// Loads the weights; `samples` are run through each block that wants them.
    pub fn load(mut load: Loader<'_, O>, config: &BertConfig, samples: &Chunk<'_>) -> Result<Self> {
        let (ops, embeddings) = (load.ops, BertEmbeddings::load(&mut load, config)?);
        let input = || embeddings.forward(ops, samples, None, None);
        let block = |i| BertLayer::load(&mut load, config, &format!("encoder.layer.{i}"));
        let layer = stack::load(ops, config.num_hidden_layers, samples, input, block)?;
        let pooler = Pooler::load(&mut load, "pooler.dense", config.hidden_size)?;
        Ok(Self { embeddings, layer, pooler })
    }
}

impl<O: Ops> Model<O> for BertModel<O> {
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, mut sink: Sink<'_>) -> Result<()> {
        let input = |next, keep| self.embeddings.forward(ops, chunk, next, keep);
        let last = stack::forward(ops, chunk, &self.layer, &mut sink, input)?;
        match &self.pooler {
            Some(pooler) => pooler.forward(ops, chunk, &last, &mut sink),
            None => Ok(()),
        }
    }

    fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }
}

/// LayerNorm(word + token type + position).
struct BertEmbeddings<O: Ops> {
    word_embeddings: O::Embedding,
    token_type_embeddings: O::Embedding,
    position_embeddings: O::Embedding,
    layer_norm: O::LayerNorm,
}

impl<O: Ops> BertEmbeddings<O> {
    fn load(load: &mut Loader<'_, O>, config: &BertConfig) -> Result<Self> {
        let mut table =
            |name: &str, entries| load.embedding(&format!("embeddings.{name}"), entries, config.hidden_size);
        Ok(Self {
            word_embeddings: table("word_embeddings", config.vocab_size)?,
            token_type_embeddings: table("token_type_embeddings", config.type_vocab_size)?,
            position_embeddings: table("position_embeddings", config.max_position_embeddings)?,
            layer_norm: load.layer_norm("embeddings.LayerNorm", config.hidden_size, config.layer_norm_eps)?,
        })
    }

    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        next: Option<&O::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<O::Rows<'r>> {
        // The order in which Transformers adds them.
        let lookups = [
            (&self.word_embeddings, chunk.ids),
            (&self.token_type_embeddings, chunk.type_ids),
            (&self.position_embeddings, chunk.positions),
        ];
        ops.embed_norm(&lookups, &self.layer_norm, next, keep)
    }
}

/// One block: self-attention and a feed-forward network, each followed by add and norm.
struct BertLayer<O: Ops> {
    /// `attention.self`'s query, key and value side by side.
    query_key_value: O::Linear,
    heads: usize,
    /// `attention.output`.
    attention_output: O::Linear,
    attention_layer_norm: O::LayerNorm,
    intermediate: O::Linear,
    intermediate_act: Activation,
    output: O::Linear,
    layer_norm: O::LayerNorm,
}

impl<O: Ops> BertLayer<O> {
    fn load(load: &mut Loader<'_, O>, config: &BertConfig, at: &str) -> Result<Self> {
        let (hidden, intermediate, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let [query, key, value] = ["query", "key", "value"].map(|part| format!("{at}.attention.self.{part}"));
        Ok(Self {
            query_key_value: load.linear(&[&query, &key, &value], hidden, hidden)?,
            heads: config.num_attention_heads,
            attention_output: load.linear(&[&format!("{at}.attention.output.dense")], hidden, hidden)?,
            attention_layer_norm: load.layer_norm(&format!("{at}.attention.output.LayerNorm"), hidden, eps)?,
            intermediate: load.linear(&[&format!("{at}.intermediate.dense")], intermediate, hidden)?,
            intermediate_act: load.activation(&format!("{at}.intermediate.intermediate_act_fn"), config.hidden_act)?,
            output: load.linear(&[&format!("{at}.output.dense")], hidden, intermediate)?,
            layer_norm: load.layer_norm(&format!("{at}.output.LayerNorm"), hidden, eps)?,
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
        let attention =
            Attention { texts: chunk.texts, mask: chunk.mask, heads: self.heads, rotary: None, window: None };
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
