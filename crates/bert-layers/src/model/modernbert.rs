//! ModernBERT (Warner et al. 2024): pre-norm blocks with rotary positions, most of which attend to the neighbourhood of a token only.
//!
//! Between the blocks goes the sum of what they gave, not normed, and hidden states are that sum. The last one is normed once more
//! (`final_norm`), unless the user wants it as the others are.

use std::sync::Arc;

use bert_layers_kernels::Activation;

use super::Model;
use super::load::Loader;
use super::stack::{self, Block, Wanted};
use crate::Result;
use crate::batch::Chunk;
use crate::config::ModernBertConfig;
use crate::last_layer::LastLayer;
use crate::ops::{Attention, For, Ops, Rotary};
use crate::sink::Sink;
use crate::weights::{NameRules, Tensor};

/// What ModernBERT's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules {
    base: "model",
    anchor: "embeddings.tok_embeddings.weight",
    rooms: &["embeddings.", "layers.", "final_norm."],
    ignored: &[],
    aliases: &[],
};

/// The encoder: embeddings, and a stack of blocks whose last one ends with the final norm.
pub(super) struct ModernBertModel<O: Ops> {
    tok_embeddings: O::Embedding,
    norm: O::LayerNorm,
    layers: Vec<ModernBertLayer<O>>,
}

impl<O: Ops> ModernBertModel<O> {
    /// Loads the weights; `samples` are run through each block that wants them.
    pub fn load(
        mut load: Loader<'_, O>,
        config: &ModernBertConfig,
        last: LastLayer,
        samples: &Chunk<'_>,
    ) -> Result<Self> {
        let ops = load.ops;
        let (hidden, count) = (config.hidden_size, config.num_hidden_layers);
        let tok_embeddings = load.embedding("embeddings.tok_embeddings", config.vocab_size, hidden)?;
        let norm = load.layer_norm_biased("embeddings.norm", hidden, config.norm_eps, config.norm_bias)?;
        let dim = hidden / config.num_attention_heads;
        let [global, local] =
            [config.global_rope_theta, config.local_rope_theta].map(|theta| Arc::new(Rotary::new(theta, dim)));
        let input = || ops.embed_norm(&[(&tok_embeddings, samples.ids)], &norm, None, None);
        let layers = stack::load(ops, 0..count, samples, input, |i| {
            let full = config.layer_types.is_full(i);
            let rotary = if full { &global } else { &local };
            let window = (!full).then_some(config.local_attention / 2);
            let mut layer = ModernBertLayer::load(&mut load, config, i, rotary.clone(), window)?;
            if i + 1 == count {
                // Read even if it is not used: it is the model's, and the fingerprint's.
                let norm = load.layer_norm_biased("final_norm", hidden, config.norm_eps, config.norm_bias)?;
                layer.final_norm = (last == LastLayer::AfterNorm).then_some(norm);
            }
            Ok(layer)
        })?;
        Ok(Self { tok_embeddings, norm, layers })
    }
}

impl<O: Ops> Model<O> for ModernBertModel<O> {
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, mut sink: Sink<'_>) -> Result<()> {
        let input = |next, keep| ops.embed_norm(&[(&self.tok_embeddings, chunk.ids)], &self.norm, next, keep);
        stack::forward(ops, chunk, &self.layers, &mut sink, input)?;
        Ok(())
    }

    fn has_pooler(&self) -> bool {
        false
    }
}

/// One block: self-attention and a gated network, each reading a norm of the sum and adding to it.
struct ModernBertLayer<O: Ops> {
    /// The first block has none: the embeddings are normed already.
    attn_norm: Option<O::LayerNorm>,
    /// `attn`'s.
    wqkv: O::Linear,
    heads: usize,
    rotary: Arc<Rotary>,
    /// How far a row attends to, in a local block.
    window: Option<usize>,
    attn_wo: O::Linear,
    mlp_norm: O::LayerNorm,
    /// `mlp`'s: its first half is activated and gates the second.
    wi: O::Linear,
    act: Activation,
    mlp_wo: O::Linear,
    /// What follows the last block.
    final_norm: Option<O::LayerNorm>,
}

impl<O: Ops> ModernBertLayer<O> {
    fn load(
        load: &mut Loader<'_, O>,
        config: &ModernBertConfig,
        block: usize,
        rotary: Arc<Rotary>,
        window: Option<usize>,
    ) -> Result<Self> {
        let at = format!("layers.{block}");
        let (hidden, inner, biased) = (config.hidden_size, config.intermediate_size, config.attention_bias);
        let norm = |load: &mut Loader<'_, O>, name: &str| {
            load.layer_norm_biased(&format!("{at}.{name}"), hidden, config.norm_eps, config.norm_bias)
        };
        let (weight, bias) = load.layer(&format!("{at}.mlp.Wi"), 2 * inner, hidden, config.mlp_bias)?;
        let ((gate, up), biases) = (halves(weight), bias.map(halves));
        let (gate_bias, up_bias) = biases.unzip();
        Ok(Self {
            attn_norm: if block > 0 { Some(norm(load, "attn_norm")?) } else { None },
            wqkv: load.linear_biased(&[&format!("{at}.attn.Wqkv")], 3 * hidden, hidden, biased)?,
            heads: config.num_attention_heads,
            rotary,
            window,
            attn_wo: load.linear_biased(&[&format!("{at}.attn.Wo")], hidden, hidden, biased)?,
            mlp_norm: norm(load, "mlp_norm")?,
            wi: load.ops.load_gated((gate, gate_bias), (up, up_bias))?,
            act: load.activation(&format!("{at}.mlp.act"), config.hidden_activation)?,
            mlp_wo: load.linear_biased(&[&format!("{at}.mlp.Wo")], hidden, inner, config.mlp_bias)?,
            final_norm: None,
        })
    }
}

/// The first and the second half of a tensor's rows.
fn halves(mut tensor: Tensor) -> (Tensor, Tensor) {
    let second = tensor.data.split_off(tensor.data.len() / 2);
    tensor.shape[0] /= 2;
    let shape = tensor.shape.clone();
    (tensor, Tensor { shape, data: second })
}

impl<O: Ops> Block<O> for ModernBertLayer<O> {
    /// Of the first block: it has no norm before.
    fn reader(&self) -> &O::Linear {
        &self.wqkv
    }

    /// Nothing reads the sum but norms, so `next` is of no use.
    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        hidden: O::Rows<'_>,
        _next: Option<&O::Linear>,
        wanted: Wanted<'r, '_>,
    ) -> Result<O::Rows<'r>> {
        let Self { wqkv, attn_wo, wi, mlp_wo, .. } = self;
        let plain = Attention::plain(chunk.texts, chunk.mask, self.heads);
        let attention = Attention { rotary: Some(&self.rotary), window: self.window, ..plain };
        let qkv = match &self.attn_norm {
            None => ops.linear(&hidden, wqkv, Activation::Identity, For::Attention)?,
            Some(norm) => {
                let normed = ops.norm(&hidden, norm, For::Linear(wqkv), None)?;
                ops.linear(&normed, wqkv, Activation::Identity, For::Attention)?
            }
        };
        for (texts, out) in wanted.attentions {
            ops.attention_probabilities(&qkv, &Attention { texts: &chunk.texts[texts], ..attention }, out)?;
        }
        let context = ops.attention(&qkv, &attention, attn_wo)?;
        drop(qkv); // its memory is the next operation's
        let attended = ops.linear_add(&context, attn_wo, &hidden, None)?;
        let normed = ops.norm(&attended, &self.mlp_norm, For::Linear(wi), None)?;
        let inner = ops.linear(&normed, wi, self.act, For::Linear(mlp_wo))?;
        match &self.final_norm {
            None => ops.linear_add(&inner, mlp_wo, &attended, wanted.keep),
            Some(norm) => {
                let sum = ops.linear_add(&inner, mlp_wo, &attended, None)?;
                ops.norm(&sum, norm, For::Anybody, wanted.keep)
            }
        }
    }

    fn settle(&mut self, ops: &O) -> Result<()> {
        for linear in [&mut self.wqkv, &mut self.attn_wo, &mut self.wi, &mut self.mlp_wo] {
            ops.settle(linear)?;
        }
        Ok(())
    }
}
