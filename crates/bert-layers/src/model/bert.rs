//! BERT (Devlin et al. 2018), with the names of the checkpoint: `embeddings`, `encoder.layer.N`, `pooler`.

use std::ops::Range;

use bert_layers_kernels::Activation;

use super::Model;
use crate::Result;
use crate::batch::Chunk;
use crate::config::{BertConfig, HiddenAct, xielu};
use crate::ops::{Attention, For, Ops};
use crate::sink::Sink;
use crate::weights::{NameRules, Weights};

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
    pooler: Option<O::Linear>,
}

impl<O: Ops> BertModel<O> {
    /// Loads the weights; `samples` are run through each block that wants them.
    pub fn load(ops: &O, config: &BertConfig, weights: &mut Weights, samples: &Chunk<'_>) -> Result<Self> {
        let mut load = Loader { ops, config, weights };
        let embeddings = BertEmbeddings::load(&mut load)?;
        let mut hidden = match ops.wants_samples() {
            true => Some(embeddings.forward(ops, samples, None, None)?),
            false => None,
        };
        let mut layer = Vec::with_capacity(config.num_hidden_layers.min(1024));
        for i in 0..config.num_hidden_layers {
            let mut block = BertLayer::load(&mut load, &format!("encoder.layer.{i}"))?;
            if let Some(input) = hidden {
                hidden = Some(block.forward(ops, samples, input, None, None, Vec::new())?);
                block.settle(ops)?;
            }
            layer.push(block);
        }
        let pooler = match load.weights.has("pooler.dense.weight") {
            true => Some(load.head("pooler.dense", config.hidden_size)?),
            false => None,
        };
        Ok(Self { embeddings, layer, pooler })
    }
}

impl<O: Ops> Model<O> for BertModel<O> {
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, mut sink: Sink<'_>) -> Result<()> {
        let layers = &self.layer[..sink.deepest()];
        // What reads a layer's output first: the next block's query, key and value, if there is a next block to be computed.
        let reader = |block: usize| layers.get(block).map(|layer| &layer.query_key_value);
        let mut hidden = self.embeddings.forward(ops, chunk, reader(0), sink.lend(0))?;
        give(ops, 0, &hidden, &mut sink)?;
        for (i, layer) in layers.iter().enumerate() {
            let (keep, attentions) = (sink.lend(i + 1), sink.take_attentions(i + 1));
            hidden = layer.forward(ops, chunk, hidden, reader(i + 1), keep, attentions)?;
            give(ops, i + 1, &hidden, &mut sink)?;
        }
        let pooled = sink.pooled();
        if let (Some(pooler), false) = (&self.pooler, pooled.is_empty()) {
            // tanh(W · h_L[0] + b): the first token of each text.
            let first: Vec<usize> = pooled.into_iter().map(|text| chunk.texts[text].start).collect();
            let output = ops.linear(&ops.select(&hidden, &first)?, pooler, Activation::Tanh, For::Anybody)?;
            sink.put_pooler(&ops.read(&output)?)?;
        }
        Ok(())
    }

    fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }
}

/// Gives a layer's rows to the sink, if it wants them and did not lend its own.
fn give<O: Ops>(ops: &O, layer: usize, hidden: &O::Rows<'_>, sink: &mut Sink<'_>) -> Result<()> {
    if sink.wants(layer) { sink.put(layer, &ops.read(hidden)?) } else { Ok(()) }
}

/// LayerNorm(word + token type + position).
struct BertEmbeddings<O: Ops> {
    word_embeddings: O::Embedding,
    token_type_embeddings: O::Embedding,
    position_embeddings: O::Embedding,
    layer_norm: O::LayerNorm,
}

impl<O: Ops> BertEmbeddings<O> {
    fn load(load: &mut Loader<'_, O>) -> Result<Self> {
        let config = load.config;
        Ok(Self {
            word_embeddings: load.embedding("embeddings.word_embeddings", config.vocab_size)?,
            token_type_embeddings: load.embedding("embeddings.token_type_embeddings", config.type_vocab_size)?,
            position_embeddings: load.embedding("embeddings.position_embeddings", config.max_position_embeddings)?,
            layer_norm: load.layer_norm("embeddings.LayerNorm")?,
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
    fn load(load: &mut Loader<'_, O>, at: &str) -> Result<Self> {
        let (hidden, intermediate) = (load.config.hidden_size, load.config.intermediate_size);
        let [query, key, value] = ["query", "key", "value"].map(|part| format!("{at}.attention.self.{part}"));
        Ok(Self {
            query_key_value: load.linear(&[&query, &key, &value], hidden, hidden)?,
            heads: load.config.num_attention_heads,
            attention_output: load.linear(&[&format!("{at}.attention.output.dense")], hidden, hidden)?,
            attention_layer_norm: load.layer_norm(&format!("{at}.attention.output.LayerNorm"))?,
            intermediate: load.linear(&[&format!("{at}.intermediate.dense")], intermediate, hidden)?,
            intermediate_act: load.activation(&format!("{at}.intermediate.intermediate_act_fn"))?,
            output: load.linear(&[&format!("{at}.output.dense")], hidden, intermediate)?,
            layer_norm: load.layer_norm(&format!("{at}.output.LayerNorm"))?,
        })
    }

    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        hidden: O::Rows<'_>,
        next: Option<&O::Linear>,
        keep: Option<&'r mut [f32]>,
        attentions: Vec<(Range<usize>, &mut [f32])>,
    ) -> Result<O::Rows<'r>> {
        let Self { query_key_value, attention_output, intermediate, output, .. } = self;
        let attention = Attention { texts: chunk.texts, mask: chunk.mask, heads: self.heads };
        let qkv = ops.linear(&hidden, query_key_value, Activation::Identity, For::Attention)?;
        for (texts, out) in attentions {
            ops.attention_probabilities(&qkv, &Attention { texts: &chunk.texts[texts], ..attention }, out)?;
        }
        let context = ops.attention(&qkv, &attention, attention_output)?;
        drop(qkv); // its memory is the next operation's
        let attended = ops.linear_add_norm(
            &context,
            attention_output,
            &hidden,
            &self.attention_layer_norm,
            Some(intermediate),
            None,
        )?;
        let inner = ops.linear(&attended, intermediate, self.intermediate_act, For::Linear(output))?;
        ops.linear_add_norm(&inner, output, &attended, &self.layer_norm, next, keep)
    }

    fn settle(&mut self, ops: &O) -> Result<()> {
        for linear in [&mut self.query_key_value, &mut self.attention_output, &mut self.intermediate, &mut self.output]
        {
            ops.settle(linear)?;
        }
        Ok(())
    }
}

/// Reads weights by their checkpoint names.
struct Loader<'a, O: Ops> {
    ops: &'a O,
    config: &'a BertConfig,
    weights: &'a mut Weights,
}

impl<O: Ops> Loader<'_, O> {
    fn embedding(&mut self, name: &str, entries: usize) -> Result<O::Embedding> {
        let table = self.weights.read(&format!("{name}.weight"), &[entries, self.config.hidden_size])?;
        self.ops.load_embedding(table)
    }

    fn linear(&mut self, names: &[&str], outputs: usize, inputs: usize) -> Result<O::Linear> {
        let mut parts = Vec::with_capacity(names.len());
        for name in names {
            let weight = self.weights.read(&format!("{name}.weight"), &[outputs, inputs])?;
            parts.push((weight, self.weights.read(&format!("{name}.bias"), &[outputs])?));
        }
        self.ops.load_linear(parts)
    }

    fn head(&mut self, name: &str, size: usize) -> Result<O::Linear> {
        let weight = self.weights.read(&format!("{name}.weight"), &[size, size])?;
        let bias = self.weights.read(&format!("{name}.bias"), &[size])?;
        self.ops.load_head(weight, bias)
    }

    fn layer_norm(&mut self, name: &str) -> Result<O::LayerNorm> {
        let weight = self.weights.read(&format!("{name}.weight"), &[self.config.hidden_size])?;
        let bias = self.weights.read(&format!("{name}.bias"), &[self.config.hidden_size])?;
        self.ops.load_layer_norm(weight, bias, self.config.layer_norm_eps)
    }

    /// The activation, with the parameters that some have in the checkpoint.
    fn activation(&mut self, at: &str) -> Result<Activation> {
        let mut scalar = |name: &str, shape: &[usize]| -> Result<f32> {
            Ok(self.weights.read(&format!("{at}.{name}"), shape)?.data[0])
        };
        match self.config.hidden_act {
            HiddenAct::Fixed(activation) => Ok(activation),
            HiddenAct::Prelu => Ok(Activation::LeakyRelu(scalar("weight", &[1])?)),
            HiddenAct::Xielu => {
                Ok(xielu(scalar("alpha_p", &[1])?, scalar("alpha_n", &[1])?, scalar("beta", &[])?, scalar("eps", &[])?))
            }
        }
    }
}
