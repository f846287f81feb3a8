//! A BERT of random weights, the same on every machine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, View, serialize_to_file};
use serde_json::json;

use crate::Done;

/// What a size is.
pub struct Size {
    vocab: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    inner: usize,
}

/// BERT-base.
pub const BASE: Size = Size { vocab: 30_522, hidden: 768, layers: 12, heads: 12, inner: 3072 };
/// Enough to see that everything runs.
pub const TINY: Size = Size { vocab: 1000, hidden: 64, layers: 3, heads: 2, inner: 128 };

/// Writes config.json and model.safetensors.
pub fn write(folder: &Path, size: &Size) -> Done {
    let &Size { vocab, hidden, layers, heads, inner } = size;
    std::fs::create_dir_all(folder)?;
    let config = json!({
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": vocab, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": inner, "hidden_act": "gelu", "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    });
    std::fs::write(folder.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    let mut random = Random(0x5eed);
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        let count = shape.iter().product();
        // As BERT's are initialized; norms near 1.
        let (mean, scale) = if name.ends_with("LayerNorm.weight") { (1.0, 0.1) } else { (0.0, 0.02) };
        let values: Vec<u8> = (0..count).flat_map(|_| (mean + scale * random.normal()).to_le_bytes()).collect();
        tensors.insert(name, Values { shape: shape.to_vec(), bytes: values });
    };
    let embeddings = [("word_embeddings", vocab), ("position_embeddings", 512), ("token_type_embeddings", 2)];
    for (name, rows) in embeddings {
        add(format!("embeddings.{name}.weight"), &[rows, hidden]);
    }
    let mut norm = |at: &str| ["weight", "bias"].map(|part| add(format!("{at}.LayerNorm.{part}"), &[hidden]));
    norm("embeddings");
    for layer in 0..layers {
        norm(&format!("encoder.layer.{layer}.attention.output"));
        norm(&format!("encoder.layer.{layer}.output"));
    }
    let mut linear = |at: String, out: usize, input: usize| {
        add(format!("{at}.weight"), &[out, input]);
        add(format!("{at}.bias"), &[out]);
    };
    for layer in 0..layers {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        for part in ["query", "key", "value"] {
            linear(at(&format!("attention.self.{part}")), hidden, hidden);
        }
        linear(at("attention.output.dense"), hidden, hidden);
        linear(at("intermediate.dense"), inner, hidden);
        linear(at("output.dense"), hidden, inner);
    }
    linear("pooler.dense".into(), hidden, hidden);
    serialize_to_file(tensors, None, &folder.join("model.safetensors"))?;
    Ok(())
}

struct Values {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Values {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About normal: the sum of four uniform numbers, with variance 1.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: f32 = (0..4).map(|i| ((bits >> (16 * i)) & 0xffff) as f32 / 65_536.0).sum();
        (sum - 2.0) * 3.0f32.sqrt()
    }
}
