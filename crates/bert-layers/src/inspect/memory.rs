//! The memory that the weights take on a CPU once they are loaded: what crate::ops::cpu keeps of each tensor.

use crate::Dtype;
use crate::config::ModelConfig;
use crate::ops::cpu_most_outliers;

/// Bytes of an encoder's tensors, given by the names and shapes that they have in the checkpoint.
pub(super) fn of_weights(config: &ModelConfig, tensors: &[(&str, &[usize])], dtype: Dtype) -> u64 {
    let stored: u64 = tensors.iter().map(|(name, shape)| of_tensor(name, shape, dtype)).sum();
    stored + of_distances(config)
}

fn of_tensor(name: &str, shape: &[usize], dtype: Dtype) -> u64 {
    let values: u64 = shape.iter().map(|&size| size as u64).product();
    match (shape, dtype) {
        // What makes the vectors of distances is not kept.
        _ if is_of_distances(name) => 0,
        // A convolution: each output has weights for the inputs of all groups then.
        (&[outputs, _, size], _) => 4 * (outputs * outputs * size) as u64,
        (&[_, _], Dtype::Float32) => 4 * values,
        (&[_, _], _) if is_table(name) => 2 * values,
        (&[_, _], Dtype::Bfloat16 | Dtype::Float16) if !is_exact(name) => 2 * values,
        // Bytes; beside them the channels that stay f32, and two numbers an output.
        (&[outputs, inputs], Dtype::Int8) if !is_exact(name) => {
            values + (outputs * (4 * cpu_most_outliers(inputs) + 8)) as u64
        }
        _ => 4 * values,
    }
}

/// A table of vectors.
fn is_table(name: &str) -> bool {
    name.starts_with("embeddings.") && name.ends_with("_embeddings.weight")
}

/// Layers outside the blocks, which compute in f32 always.
fn is_exact(name: &str) -> bool {
    ["pooler.", "embeddings", "encoder.embedding_hidden_mapping_in.", "encoder.relative_attention_bias."]
        .iter()
        .any(|start| name.starts_with(start))
}

/// DeBERTa's relative embeddings, and the layers that project nothing else.
fn is_of_distances(name: &str) -> bool {
    name.starts_with("encoder.rel_embeddings.")
        || ["pos_proj", "pos_q_proj", "pos_key_proj", "pos_query_proj"]
            .iter()
            .any(|layer| name.contains(&format!(".{layer}.")))
}

/// DeBERTa's vectors of distances, projected once for each block: f32 in every precision.
fn of_distances(config: &ModelConfig) -> u64 {
    let ModelConfig::Deberta(config) = config else { return 0 };
    let tables = usize::from(config.c2p) + usize::from(config.p2c);
    match config.relative_attention {
        true => 4 * (config.num_hidden_layers * tables * 2 * config.span() * config.hidden_size) as u64,
        false => 0,
    }
}
