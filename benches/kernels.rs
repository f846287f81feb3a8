//! Each kernel on one thread, named `kernel/precision/instruction set/shape`. What share of the processor's ceiling they get is
//! what `cargo run --release -p bert-layers-kernels --example ceiling` measures.

use std::hint::black_box;

use bert_layers_kernels::{
    Activation, Bf16, Converted, Epilogue, Heads, Kernels, PackedBf16, PackedInt8, PackedMatrix, QuantizedRows, Solo,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Rows, inputs, outputs, activation, whether there is a residual: the linear layers of a BERT-base, for a long and a short text.
const LINEAR: [(usize, usize, usize, Activation, bool); 6] = [
    (128, 768, 2304, Activation::Identity, false),
    (128, 768, 768, Activation::Identity, true),
    (128, 768, 3072, Activation::Gelu, false),
    (128, 3072, 768, Activation::Identity, true),
    (16, 768, 3072, Activation::Gelu, false),
    (16, 3072, 768, Activation::Identity, true),
];

const HEADS: Heads = Heads { count: 12, dim: 64, scale: 0.125 };

fn linear(c: &mut Criterion) {
    for kernels in Kernels::available() {
        for (rows, inp, out, activation, residual) in LINEAR {
            let weight = vec![0.01; inp * out];
            let parts = [(&weight[..], out)];
            let (x, bias, added) = (vec![0.5; rows * inp], vec![0.1; out], vec![0.2; rows * out]);
            let residual = residual.then_some(&added[..]);
            let epilogue = Epilogue { bias: Some(&bias), activation, residual, upcoming: None };
            let shape = format!("{}/{rows}×{inp}×{out} {activation:?}", kernels.name());
            let mut result = vec![0.0; rows * out];
            let mut group = c.benchmark_group("linear");
            group.throughput(Throughput::Elements((rows * inp * out) as u64));

            let w = PackedMatrix::pack_side_by_side(kernels, &parts, inp).expect("memory");
            group.bench_function(format!("f32/{shape}"), |b| {
                b.iter(|| kernels.linear(&Solo, black_box(&x), &w, epilogue, &mut result));
            });

            let w = PackedBf16::pack_side_by_side(kernels, &parts, inp).expect("memory");
            let rounded = vec![Bf16::from_f32(0.5); x.len()];
            group.bench_function(format!("bf16/{shape}"), |b| {
                b.iter(|| kernels.linear_bf16(&Solo, black_box(&rounded), &w, epilogue, &mut result[..]));
            });

            let outliers: Vec<usize> = (0..8).collect();
            let w = PackedInt8::pack_side_by_side(kernels, &parts, inp, &outliers).expect("memory");
            let mut quantized = QuantizedRows::default();
            quantized.prepare(&w, rows).expect("memory");
            kernels.convert(&Solo, &x, inp, Converted::Int8(&w, &mut quantized));
            group.bench_function(format!("int8/{shape}"), |b| {
                b.iter(|| {
                    kernels.linear_int8(&Solo, black_box(&quantized).rows(0..rows), &w, epilogue, &mut result[..])
                });
            });
        }
    }
}

fn attention(c: &mut Criterion) {
    for kernels in Kernels::available() {
        for len in [16, 27, 128, 512] {
            let text = 0..len;
            let texts = std::slice::from_ref(&text);
            let (qkv, mut out) = (vec![0.5; len * 3 * HEADS.hidden()], vec![0.0; len * HEADS.hidden()]);
            let rounded = vec![Bf16::from_f32(0.5); qkv.len()];
            let shape = format!("{}/12×64, {len} tokens", kernels.name());
            let mut group = c.benchmark_group("attention");
            group.throughput(Throughput::Elements((2 * len * len * HEADS.hidden()) as u64));
            group.bench_function(format!("f32/{shape}"), |b| {
                b.iter(|| kernels.attention(&Solo, black_box(&qkv), texts, None, HEADS, &mut out));
            });
            group.bench_function(format!("bf16/{shape}"), |b| {
                b.iter(|| kernels.attention_bf16(&Solo, black_box(&rounded), texts, None, HEADS, &mut out[..]));
            });
        }
    }
}

fn rows(c: &mut Criterion) {
    for kernels in Kernels::available() {
        let (mut x, ones) = (vec![0.5; 128 * 768], vec![1.0; 768]);
        let mut group = c.benchmark_group("rows");
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(format!("layer_norm/{}/128×768", kernels.name()), |b| {
            b.iter(|| kernels.layer_norm_in_place(&Solo, black_box(&mut x), &ones, Some(&ones), 1e-12));
        });
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
            group.bench_function(format!("{activation:?}/{}/128×768", kernels.name()), |b| {
                b.iter(|| kernels.activate(&Solo, activation, black_box(&mut x)));
            });
        }
    }
}

criterion_group!(benches, linear, attention, rows);
criterion_main!(benches);
