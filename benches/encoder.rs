//! The whole encoder, named `texts × tokens/backend dtype`, with stock candle-transformers beside it on the same weights, threads
//! and tokens. Stock candle gives the last layer only; ours gives all of them.
//!
//! The model is the embedded one, or the folder that $BERT_LAYERS_BENCH_MODEL names; the instruction set is $BERT_LAYERS_ISA's.

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, Input, LoadOptions};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Texts, and tokens of each.
const BATCHES: [(usize, usize); 4] = [(1, 16), (1, 128), (8, 128), (32, 128)];

fn ids(texts: usize, tokens: usize) -> Vec<Vec<u32>> {
    (0..texts as u32).map(|row| (0..tokens as u32).map(|j| 1000 + (row * 7 + j * 13) % 20_000).collect()).collect()
}

fn encoder(c: &mut Criterion) {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/all-minilm-l6-v2");
    let folder = std::env::var("BERT_LAYERS_BENCH_MODEL").unwrap_or_else(|_| embedded.into());
    let load = |device, dtype| {
        Encoder::from_pretrained(&folder, &LoadOptions { device, dtype, ..LoadOptions::default() }).expect("a model")
    };
    let ours = [
        ("ops/cpu float32", load(DeviceChoice::Cpu, Dtype::Float32)),
        ("ops/cpu bfloat16", load(DeviceChoice::Cpu, Dtype::Bfloat16)),
        ("ops/cpu int8", load(DeviceChoice::Cpu, Dtype::Int8)),
        ("ops/candle float32", load(DeviceChoice::CandleCpu, Dtype::Float32)),
    ];
    let stock = stock_candle(&folder);

    for (texts, tokens) in BATCHES {
        let ids = ids(texts, tokens);
        let inputs: Vec<Input> =
            ids.iter().map(|ids| Input::Ids { ids: ids.clone(), type_ids: None, attention_mask: None }).collect();
        let mut group = c.benchmark_group(format!("{texts} × {tokens}"));
        group.sample_size(10).throughput(Throughput::Elements((texts * tokens) as u64));
        for (name, encoder) in &ours {
            group.bench_function(*name, |b| {
                b.iter(|| encoder.encode(&inputs, &EncodeOptions::default()).expect("states"));
            });
        }
        let ids = Tensor::new(ids, &Device::Cpu).expect("ids");
        let type_ids = ids.zeros_like().expect("type ids");
        group.bench_function("candle-transformers float32", |b| {
            b.iter(|| stock.forward(&ids, &type_ids, None).expect("states"));
        });
    }
}

fn stock_candle(folder: &str) -> BertModel {
    let read = |name: &str| std::fs::read(format!("{folder}/{name}")).expect("a file of the model");
    let config: Config = serde_json::from_slice(&read("config.json")).expect("a BERT's config.json");
    let weights = VarBuilder::from_buffered_safetensors(read("model.safetensors"), DType::F32, &Device::Cpu);
    BertModel::load(weights.expect("safetensors"), &config).expect("a BERT's weights")
}

criterion_group!(benches, encoder);
criterion_main!(benches);
