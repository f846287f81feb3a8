//! NomicBERT (Nussbaum et al. 2024): BERT's post-norm blocks with rotary positions, gated networks and mostly no biases.

use std::sync::Arc;

use bert_layers_kernels::Activation;

use super::Model;
use super::load::Loader;
use super::pooler::Pooler;
use super::stack::{self, Block, Wanted};
use crate::Result;
use crate::batch::Chunk;
use crate::config::NomicBertConfig;
use crate::ops::{Attention, For, Ops, Rotary};
use crate::sink::Sink;
use crate::weights::NameRules;

/// What NomicBERT's checkpoints call their tensors, in either way (see [`Names`]).
pub(super) const NAMES: NameRules = NameRules {
    base: "nomic_bert",
    anchor: "embeddings.word_embeddings.weight",
    rooms: &["embeddings.", "emb_ln.", "encoder.", "layers.", "pooler."],
    ignored: &[],
    aliases: &[],
};

/// The same for task checkpoints of the code beside the models on the hub.
pub(super) const REMOTE_NAMES: NameRules = NameRules { base: "bert", ..NAMES };

/// The names of a checkpoint's parts.
struct Names {
    embeddings_norm: &'static str,
    /// What blocks are in.
    layers: &'static str,
    /// Queries, keys and values: three layers, or all in one.
    qkv: &'static [&'static str],
    attention_output: &'static str,
    attention_norm: &'static str,
    gate: &'static str,
    up: &'static str,
    down: &'static str,
    mlp_norm: &'static str,
}

/// Those of the models on the hub, which Transformers 5 writes too.
const HUB: Names = Names {
    embeddings_norm: "emb_ln",
    layers: "encoder.layers",
    qkv: &["attn.Wqkv"],
    attention_output: "attn.out_proj",
    attention_norm: "norm1",
    gate: "mlp.fc12",
    up: "mlp.fc11",
    down: "mlp.fc2",
    mlp_norm: "norm2",
};

/// Those of Transformers' own class.
const TRANSFORMERS: Names = Names {
    embeddings_norm: "embeddings.LayerNorm",
    layers: "layers",
    qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    attention_output: "self_attn.o_proj",
    attention_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    mlp_norm: "post_mlp_layernorm",
};

/// The encoder: embeddings, a stack of blocks, and a pooler where the checkpoint has one.
pub(super) struct NomicBertModel<O: Ops> {
    embeddings: NomicBertEmbeddings<O>,
    layers: Vec<NomicBertLayer<O>>,
    pooler: Option<Pooler<O>>,
}

impl<O: Ops> NomicBertModel<O> {
    /// Loads the weights; `samples` are run through each block that wants them.
    pub fn load(mut load: Loader<'_, O>, config: &NomicBertConfig, samples: &Chunk<'_>) -> Result<Self> {
        let names = if load.weights.has("embeddings.LayerNorm.weight") { &TRANSFORMERS } else { &HUB };
        let (ops, embeddings) = (load.ops, NomicBertEmbeddings::load(&mut load, config, names)?);
        let rotary = Arc::new(Rotary::new(config.rope_theta, config.rotary_dim));
        let input = || embeddings.forward(ops, samples, None, None);
        let layer = |i| NomicBertLayer::load(&mut load, config, names, i, rotary.clone());
        let layers = stack::load(ops, 0..config.num_hidden_layers, samples, input, layer)?;
        let pooler = Pooler::load(&mut load, "pooler.dense", config.hidden_size)?;
        Ok(Self { embeddings, layers, pooler })
    }
}

impl<O: Ops> Model<O> for NomicBertModel<O> {
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, mut sink: Sink<'_>) -> Result<()> {
        let input = |next, keep| self.embeddings.forward(ops, chunk, next, keep);
        let last = stack::forward(ops, chunk, &self.layers, &mut sink, input)?;
        match &self.pooler {
            Some(pooler) => pooler.forward(ops, chunk, &last, &mut sink),
            None => Ok(()),
        }
    }

    fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }
}

/// LayerNorm(word + token type).
struct NomicBertEmbeddings<O: Ops> {
    word_embeddings: O::Embedding,
    token_type_embeddings: Option<O::Embedding>,
    norm: O::LayerNorm,
}

impl<O: Ops> NomicBertEmbeddings<O> {
    fn load(load: &mut Loader<'_, O>, config: &NomicBertConfig, names: &Names) -> Result<Self> {
        let &NomicBertConfig { hidden_size, layer_norm_eps, type_vocab_size, .. } = config;
        Ok(Self {
            word_embeddings: load.embedding("embeddings.word_embeddings", config.vocab_size, hidden_size)?,
            token_type_embeddings: match type_vocab_size {
                0 => None,
                types => Some(load.embedding("embeddings.token_type_embeddings", types, hidden_size)?),
            },
            norm: load.layer_norm(names.embeddings_norm, hidden_size, layer_norm_eps)?,
        })
    }

    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        next: Option<&O::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<O::Rows<'r>> {
        let mut lookups = vec![(&self.word_embeddings, chunk.ids)];
        lookups.extend(self.token_type_embeddings.as_ref().map(|types| (types, chunk.type_ids)));
        ops.embed_norm(&lookups, &self.norm, next, keep)
    }
}

/// One block: self-attention and a gated network, each followed by add and norm.
struct NomicBertLayer<O: Ops> {
    query_key_value: O::Linear,
    heads: usize,
    rotary: Arc<Rotary>,
    attention_output: O::Linear,
    attention_norm: O::LayerNorm,
    /// The activated layer and the one that it gates.
    gate_up: O::Linear,
    act: Activation,
    down: O::Linear,
    mlp_norm: O::LayerNorm,
}

impl<O: Ops> NomicBertLayer<O> {
    fn load(
        load: &mut Loader<'_, O>,
        config: &NomicBertConfig,
        names: &Names,
        block: usize,
        rotary: Arc<Rotary>,
    ) -> Result<Self> {
        let name = |part: &str| format!("{}.{block}.{part}", names.layers);
        let &NomicBertConfig { hidden_size: hidden, intermediate_size: inner, layer_norm_eps: eps, .. } = config;
        let width = config.num_attention_heads * config.head_dim;
        let qkv: Vec<String> = names.qkv.iter().copied().map(name).collect();
        let qkv: Vec<&str> = qkv.iter().map(String::as_str).collect();
        let outputs = 3 / qkv.len() * width;
        let gate = load.layer(&name(names.gate), inner, hidden, config.mlp_fc1_bias)?;
        let up = load.layer(&name(names.up), inner, hidden, config.mlp_fc1_bias)?;
        Ok(Self {
            query_key_value: load.linear_biased(&qkv, outputs, hidden, config.qkv_proj_bias)?,
            heads: config.num_attention_heads,
            rotary,
            attention_output: load.linear_biased(
                &[&name(names.attention_output)],
                hidden,
                width,
                config.qkv_proj_bias,
            )?,
            attention_norm: load.layer_norm(&name(names.attention_norm), hidden, eps)?,
            gate_up: load.ops.load_gated(gate, up)?,
            act: load.activation(&name("mlp.act_fn"), config.hidden_act)?,
            down: load.linear_biased(&[&name(names.down)], hidden, inner, config.mlp_fc2_bias)?,
            mlp_norm: load.layer_norm(&name(names.mlp_norm), hidden, eps)?,
        })
    }
}

impl<O: Ops> Block<O> for NomicBertLayer<O> {
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
        let Self { query_key_value, attention_output, gate_up, down, .. } = self;
        let plain = Attention::plain(chunk.texts, chunk.mask, self.heads);
        let attention = Attention { rotary: Some(&self.rotary), ..plain };
        let qkv = ops.linear(&hidden, query_key_value, Activation::Identity, For::Attention)?;
        for (texts, out) in wanted.attentions {
            ops.attention_probabilities(&qkv, &Attention { texts: &chunk.texts[texts], ..attention }, out)?;
        }
        let context = ops.attention(&qkv, &attention, attention_output)?;
        drop(qkv); // its memory is the next operation's
        let attended =
            ops.linear_add_norm(&context, attention_output, &hidden, &self.attention_norm, Some(gate_up), None)?;
        let inner = ops.linear(&attended, gate_up, self.act, For::Linear(down))?;
        ops.linear_add_norm(&inner, down, &attended, &self.mlp_norm, next, wanted.keep)
    }

    fn settle(&mut self, ops: &O) -> Result<()> {
        for linear in [&mut self.query_key_value, &mut self.attention_output, &mut self.gate_up, &mut self.down] {
            ops.settle(linear)?;
        }
        Ok(())
    }
}
