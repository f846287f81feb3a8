//! Stock candle-transformers' BERT and the work that it is measured with.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};

/// The model's folder: $BERT_LAYERS_BENCH_MODEL, or the embedded one.
pub fn folder() -> String {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/all-minilm-l6-v2");
    std::env::var("BERT_LAYERS_BENCH_MODEL").unwrap_or_else(|_| embedded.into())
}

/// Token ids of that many texts.
pub fn ids(texts: usize, tokens: usize) -> Vec<Vec<u32>> {
    (0..texts as u32).map(|row| (0..tokens as u32).map(|j| 1000 + (row * 7 + j * 13) % 20_000).collect()).collect()
}

/// A model's config.json.
pub fn config(folder: &str) -> std::io::Result<serde_json::Value> {
    Ok(serde_json::from_slice(&std::fs::read(format!("{folder}/config.json"))?)?)
}

/// Stock candle's BERT in f32 on the CPU.
pub struct Stock(BertModel);

impl Stock {
    pub fn load(folder: &str) -> Result<Self> {
        let config: Config = serde_json::from_value(config(folder)?).map_err(candle_core::Error::wrap)?;
        let weights = std::fs::read(format!("{folder}/model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
        Ok(Self(BertModel::load(weights, &config)?))
    }

    /// The last layer's states, the only ones that it gives.
    pub fn forward(&self, ids: &[Vec<u32>]) -> Result<Tensor> {
        let ids = Tensor::new(ids.to_vec(), &Device::Cpu)?;
        self.0.forward(&ids, &ids.zeros_like()?, None)
    }
}
