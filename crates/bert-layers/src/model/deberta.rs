//! DeBERTa (He et al. 2020), and v2 and v3 (He et al. 2021): BERT's blocks with disentangled attention, in v2-xlarge and
//! v2-xxlarge a convolution beside the first block, and what the family's embeddings do.

use std::sync::Arc;

use bert_layers_kernels::{Activation, Kernels, Solo};

use super::bert::{self, BertLayer, Blocks};
use super::embeddings::{Embeddings, Index, Table};
use super::load::Loader;
use super::positions::Positions;
use super::stack::{self, Block, Wanted};
use super::{Model, distances};
use crate::Result;
use crate::batch::Chunk;
use crate::config::{DebertaConfig, HiddenAct};
use crate::ops::{Distances, For, Ops};
use crate::sink::Sink;
use crate::weights::{NameRules, Tensor};

/// What DeBERTa's checkpoints call their tensors. v2's have position embeddings though `position_biased_input` is false.
pub(super) const NAMES: NameRules = NameRules {
    base: "deberta",
    anchor: "embeddings.word_embeddings.weight",
    rooms: &["embeddings.", "encoder."],
    ignored: &["embeddings.position_ids", "embeddings.position_embeddings.weight"],
    aliases: bert::NAMES.aliases,
};

/// The encoder: embeddings and a stack of blocks. The family's poolers belong to its heads.
pub(super) struct DebertaModel<O: Ops> {
    embeddings: Embeddings<O>,
    layer: Vec<DebertaLayer<O>>,
}

impl<O: Ops> DebertaModel<O> {
    /// Loads the weights; `samples` are run through each block that wants them.
    pub fn load(mut load: Loader<'_, O>, config: &DebertaConfig, samples: &Chunk<'_>) -> Result<Self> {
        let (ops, embeddings) = (load.ops, embeddings(&mut load, config)?);
        let relative = RelativeEmbeddings::load(&mut load, config)?;
        let input = || embeddings.forward(ops, samples, None, None);
        let block = |i| DebertaLayer::load(&mut load, config, &relative, i);
        let layer = stack::load(ops, 0..config.num_hidden_layers, samples, input, block)?;
        Ok(Self { embeddings, layer })
    }
}

impl<O: Ops> Model<O> for DebertaModel<O> {
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, mut sink: Sink<'_>) -> Result<()> {
        let input = |next, keep| self.embeddings.forward(ops, chunk, next, keep);
        stack::forward(ops, chunk, &self.layer, &mut sink, input)?;
        Ok(())
    }

    fn has_pooler(&self) -> bool {
        false
    }
}

/// LayerNorm(word + position + token type), as far as the config has them; LayerNorm(embed_proj(…)) where they are narrower.
/// Transformers then zeroes masked rows. Nobody reads those but the convolution, which leaves them out.
fn embeddings<O: Ops>(load: &mut Loader<'_, O>, config: &DebertaConfig) -> Result<Embeddings<O>> {
    let mut tables: Vec<Table> = vec![("word_embeddings", config.vocab_size, Index::Id)];
    if config.position_biased_input {
        let index = Index::Position(Positions::FromZero);
        tables.push(("position_embeddings", config.max_position_embeddings, index));
    }
    if config.type_vocab_size > 0 {
        tables.push(("token_type_embeddings", config.type_vocab_size, Index::TypeId));
    }
    let (width, hidden, eps) = (config.embedding_size, config.hidden_size, config.layer_norm_eps);
    match width == hidden {
        true => Embeddings::load(load, &tables, hidden, eps),
        false => Embeddings::load_projected(load, &tables, "embeddings.embed_proj", width, hidden, eps),
    }
}

/// A vector for each distance, or bucket of distances, that every block projects for itself.
struct RelativeEmbeddings {
    embeddings: Tensor,
    rows: Arc<[u32]>,
}

impl RelativeEmbeddings {
    /// Loads them; none without relative attention.
    fn load<O: Ops>(load: &mut Loader<'_, O>, config: &DebertaConfig) -> Result<Self> {
        let hidden = config.hidden_size;
        let norm = match config.norm_rel_ebd {
            true => {
                let weight = load.weights.read("encoder.LayerNorm.weight", &[hidden])?;
                Some((weight, load.weights.read("encoder.LayerNorm.bias", &[hidden])?))
            }
            false => None,
        };
        if !config.relative_attention {
            return Ok(Self { embeddings: Tensor { shape: vec![0, hidden], data: Vec::new() }, rows: Arc::new([]) });
        }
        let mut embeddings = load.weights.read("encoder.rel_embeddings.weight", &[2 * config.span(), hidden])?;
        if let Some((weight, bias)) = norm {
            // Constants: the same ones on every device.
            let eps = config.layer_norm_eps;
            Kernels::portable().layer_norm_in_place(&Solo, &mut embeddings.data, &weight.data, Some(&bias.data), eps);
        }
        Ok(Self { embeddings, rows: distances::rows(config).into() })
    }
}

/// One block: BERT's with disentangled attention, and in the first one of some models a convolution of its input beside it.
struct DebertaLayer<O: Ops> {
    block: BertLayer<O>,
    conv: Option<ConvLayer<O>>,
}

impl<O: Ops> DebertaLayer<O> {
    fn load(load: &mut Loader<'_, O>, config: &DebertaConfig, relative: &RelativeEmbeddings, i: usize) -> Result<Self> {
        let blocks = Blocks {
            layers: config.num_hidden_layers,
            groups: config.num_hidden_layers,
            at: |block| format!("encoder.layer.{block}"),
            names: &bert::BLOCK,
            hidden: config.hidden_size,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            act: config.hidden_act,
            eps: config.layer_norm_eps,
            bias: None,
        };
        let at = (blocks.at)(i);
        let (query_key_value, disentangled) = self_attention(load, config, relative, &format!("{at}.attention.self"))?;
        let block = BertLayer::load_after(query_key_value, Some(disentangled), load, &blocks, &at)?;
        let conv = if i == 0 && config.conv_kernel_size > 0 { Some(ConvLayer::load(load, config)?) } else { None };
        Ok(Self { block, conv })
    }
}

impl<O: Ops> Block<O> for DebertaLayer<O> {
    fn reader(&self) -> &O::Linear {
        self.block.reader()
    }

    fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        hidden: O::Rows<'_>,
        next: Option<&O::Linear>,
        wanted: Wanted<'r, '_>,
    ) -> Result<O::Rows<'r>> {
        let Some(conv) = &self.conv else { return self.block.forward(ops, chunk, hidden, next, wanted) };
        let convolved = conv.forward(ops, chunk, &hidden)?;
        let alone = Wanted { keep: None, attentions: wanted.attentions };
        let output = self.block.forward(ops, chunk, hidden, None, alone)?;
        ops.add_norm(&convolved, Some(&output), &conv.layer_norm, next, wanted.keep)
    }

    fn settle(&mut self, ops: &O) -> Result<()> {
        self.block.settle(ops)
    }
}

/// Weight and bias.
type Dense = (Tensor, Tensor);

/// Query, key and value side by side, and the vectors of distances that they are multiplied with.
fn self_attention<O: Ops>(
    load: &mut Loader<'_, O>,
    config: &DebertaConfig,
    relative: &RelativeEmbeddings,
    at: &str,
) -> Result<(O::Linear, O::Disentangled)> {
    let hidden = config.hidden_size;
    // Of distances, keys are what queries are multiplied with, and queries are what keys are.
    let (c2p, p2c) = (config.c2p && config.relative_attention, config.p2c && config.relative_attention);
    let mut own = |wanted: bool, name: &str| -> Result<Option<Dense>> {
        let own = wanted && !config.share_att_key;
        own.then(|| load.dense(&format!("{at}.{name}"), hidden, hidden)).transpose()
    };
    let (parts, keys, queries) = match config.model_type {
        "deberta" => {
            let queries = own(p2c, "pos_q_proj")?;
            let mut keys = None;
            if c2p {
                let weight = load.weights.read(&format!("{at}.pos_proj.weight"), &[hidden, hidden])?;
                keys = Some((weight, zeros(hidden)));
            }
            (in_proj(load, config, at)?, keys, queries)
        }
        _ => {
            let (keys, queries) = (own(c2p, "pos_key_proj")?, own(p2c, "pos_query_proj")?);
            let [query, key, value] = ["query_proj", "key_proj", "value_proj"].map(|name| format!("{at}.{name}"));
            let mut part = |name: &str| load.dense(name, hidden, hidden);
            ([part(&query)?, part(&key)?, part(&value)?], keys, queries)
        }
    };
    let [query, key, _] = &parts;
    let disentangled = load.ops.load_disentangled(&Distances {
        embeddings: &relative.embeddings,
        keys: keys.as_ref().or(c2p.then_some(key)),
        queries: queries.as_ref().or(p2c.then_some(query)),
        rows: &relative.rows,
        terms: 1 + usize::from(config.c2p) + usize::from(config.p2c),
    })?;
    let parts = parts.into_iter().map(|(weight, bias)| (weight, Some(bias))).collect();
    Ok((load.ops.load_linear(parts)?, disentangled))
}

/// The first DeBERTa's query, key and value: in its checkpoints one matrix, in which each head has its rows of all three, and biases
/// for queries and values only.
fn in_proj<O: Ops>(load: &mut Loader<'_, O>, config: &DebertaConfig, at: &str) -> Result<[Dense; 3]> {
    let hidden = config.hidden_size;
    let head = hidden / config.num_attention_heads * hidden;
    let all = load.weights.read(&format!("{at}.in_proj.weight"), &[3 * hidden, hidden])?;
    let part = |which: usize| {
        let heads = all.data.chunks_exact(head).skip(which).step_by(3);
        Tensor { shape: vec![hidden, hidden], data: heads.flatten().copied().collect() }
    };
    let mut bias = |name: &str| load.weights.read(&format!("{at}.{name}"), &[hidden]);
    Ok([(part(0), bias("q_bias")?), (part(1), zeros(hidden)), (part(2), bias("v_bias")?)])
}

fn zeros(len: usize) -> Tensor {
    Tensor { shape: vec![len], data: vec![0.0; len] }
}

/// LayerNorm(output of the block + activation(convolution of its input)).
struct ConvLayer<O: Ops> {
    conv: O::Linear,
    size: usize,
    act: Activation,
    layer_norm: O::LayerNorm,
}

impl<O: Ops> ConvLayer<O> {
    fn load(load: &mut Loader<'_, O>, config: &DebertaConfig) -> Result<Self> {
        let (hidden, size) = (config.hidden_size, config.conv_kernel_size);
        let group = hidden / config.conv_groups;
        let weight = load.weights.read("encoder.conv.conv.weight", &[hidden, group, size])?;
        let bias = load.weights.read("encoder.conv.conv.bias", &[hidden])?;
        // [out, in of its group, place] → [out, place, in], as neighbours lie; other groups' inputs count for nothing.
        let mut matrix = vec![0.0; hidden * size * hidden];
        for (out, (row, weights)) in
            matrix.chunks_exact_mut(size * hidden).zip(weight.data.chunks_exact(group * size)).enumerate()
        {
            for (i, places) in weights.chunks_exact(size).enumerate() {
                for (place, weight) in places.iter().enumerate() {
                    row[place * hidden + out / group * group + i] = *weight;
                }
            }
        }
        let HiddenAct::Fixed(act) = config.conv_act else {
            return Err(crate::Error::Internal("the config has an activation without parameters".into()));
        };
        Ok(Self {
            conv: load.ops.load_head(Tensor { shape: vec![hidden, size * hidden], data: matrix }, bias)?,
            size,
            act,
            layer_norm: load.layer_norm("encoder.conv.LayerNorm", hidden, config.layer_norm_eps)?,
        })
    }

    /// The activation of the convolution.
    fn forward(&self, ops: &O, chunk: &Chunk<'_>, hidden: &O::Rows<'_>) -> Result<O::Rows<'static>> {
        let neighbours = ops.neighbours(hidden, chunk.texts, chunk.mask, self.size)?;
        ops.linear(&neighbours, &self.conv, self.act, For::Anybody)
    }
}
