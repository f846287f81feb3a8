//! The whole encoder, named `texts × tokens/backend dtype`, with stock candle-transformers beside it on the same weights, threads
//! and tokens. Stock candle gives the last layer only; ours gives all of them.
//!
//! The model is the embedded one, or the folder that $BERT_LAYERS_BENCH_MODEL names; the instruction set is $BERT_LAYERS_ISA's.

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, Input, LoadOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

mod stock;

/// Texts, and tokens of each.
const BATCHES: [(usize, usize); 4] = [(1, 16), (1, 128), (8, 128), (32, 128)];

fn encoder(c: &mut Criterion) {
    let folder = stock::folder();
    let load = |device, dtype| {
        Encoder::from_pretrained(&folder, &LoadOptions { device, dtype, ..LoadOptions::default() }).expect("a model")
    };
    let ours = [
        ("ops/cpu float32", load(DeviceChoice::Cpu, Dtype::Float32)),
        ("ops/cpu bfloat16", load(DeviceChoice::Cpu, Dtype::Bfloat16)),
        ("ops/cpu int8", load(DeviceChoice::Cpu, Dtype::Int8)),
        ("ops/candle float32", load(DeviceChoice::CandleCpu, Dtype::Float32)),
    ];
    let candle = stock::Stock::load(&folder).expect("a BERT");

    for (texts, tokens) in BATCHES {
        let ids = stock::ids(texts, tokens);
        let inputs: Vec<Input> =
            ids.iter().map(|ids| Input::Ids { ids: ids.clone(), type_ids: None, attention_mask: None }).collect();
        let mut group = c.benchmark_group(format!("{texts} × {tokens}"));
        group.sample_size(10).throughput(Throughput::Elements((texts * tokens) as u64));
        for (name, encoder) in &ours {
            group.bench_function(*name, |b| {
                b.iter(|| encoder.encode(&inputs, &EncodeOptions::default()).expect("states"));
            });
        }
        group.bench_function("candle-transformers float32", |b| {
            b.iter(|| candle.forward(&ids).expect("states"));
        });
    }
}

criterion_group!(benches, encoder);
criterion_main!(benches);
