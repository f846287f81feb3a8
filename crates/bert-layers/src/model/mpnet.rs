//! MPNet (Song et al. 2020): BERT's blocks with a bias of their scores by distance, one for all blocks, and RoBERTa's positions.

use std::sync::Arc;

use bert_layers_kernels::DistanceBias;

use super::bert::{self, BertModel, BlockNames, Blocks};
use super::embeddings::{Embeddings, Index};
use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::config::MpnetConfig;
use crate::ops::Ops;
use crate::weights::{NameRules, Tensor};

/// What MPNet's checkpoints call their tensors.
pub(super) const NAMES: NameRules = NameRules { base: "mpnet", ..bert::NAMES };

/// What it calls the parts of `encoder.layer.N`, where they have names of their own.
const BLOCK: BlockNames = BlockNames {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attention_output: "attention.attn.o",
    attention_layer_norm: "attention.LayerNorm",
    ..bert::BLOCK
};

/// Loads the weights.
pub(super) fn load<O: Ops>(mut load: Loader<'_, O>, config: &MpnetConfig, samples: &Chunk<'_>) -> Result<BertModel<O>> {
    let MpnetConfig { bert, relative_attention_num_buckets } = config;
    let positions = Index::Position(Positions::AfterPadding(MpnetConfig::PADDING));
    let tables = [
        ("word_embeddings", bert.vocab_size, Index::Id),
        ("position_embeddings", bert.max_position_embeddings, positions),
    ];
    let embeddings = Embeddings::load(&mut load, &tables, bert.hidden_size, bert.layer_norm_eps)?;
    let shape = [*relative_attention_num_buckets, bert.num_attention_heads];
    let bias = bias(&load.weights.read("encoder.relative_attention_bias.weight", &shape)?);
    let blocks = Blocks { names: &BLOCK, bias: Some(Arc::new(bias)), ..bert::blocks(bert) };
    BertModel::load(load, embeddings, &blocks, Some("pooler.dense"), samples)
}

/// The bias of each head and distance, from a table `[bucket][head]`.
fn bias(table: &Tensor) -> DistanceBias {
    let heads = table.shape[1];
    // Where the last bucket begins, and further.
    DistanceBias::new(heads, 128, |head, distance| table.data[bucket(distance) * heads + head])
}

/// The bucket of a distance `key − query`, of 32, as Transformers' `relative_position_bucket` has it: 16 on each side, distances
/// 0 to 7 each for itself, then twice as many distances every second bucket, and the last one for all from 91 on.
fn bucket(distance: isize) -> usize {
    let (side, n) = (if distance > 0 { 16 } else { 0 }, distance.unsigned_abs());
    match n {
        0..8 => side + n,
        // 8 + ⌊8 · ln(n / 8) / ln(128 / 8)⌋ in whole numbers.
        _ => side + (8 + (n * n / 64).ilog2() as usize).min(15),
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    /// Where `relative_position_bucket` of Transformers 5.23 begins each bucket, for all distances up to 1000.
    const STARTS: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];

    #[test]
    fn buckets_are_those_of_transformers() {
        for n in 0..=1000usize {
            let expected = STARTS.partition_point(|&start| start <= n) - 1;
            assert_eq!(bucket(-(n as isize)), expected, "{n} before");
            assert_eq!(bucket(n as isize), if n == 0 { 0 } else { 16 + expected }, "{n} behind");
        }
    }
}
