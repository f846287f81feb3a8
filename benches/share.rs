//! How much of what the processor can multiply the whole encoder gets, and how many times as fast as stock candle it is:
//!
//!     BERT_LAYERS_BENCH_MODEL=… cargo bench --manifest-path benches/Cargo.toml --bench share [-- ROUNDS [TEXTS TOKENS]]
//!
//! Each round runs a batch, then a loop of multiply-adds between registers on as many threads for as long, and in float32 stock
//! candle-transformers, so that a machine's noise falls on all of them. Medians over the rounds of the ratios. All operations of
//! the blocks' products and attentions count, two for each multiply-add. The instruction set is $BERT_LAYERS_ISA's.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, Input, LoadOptions};
use bert_layers_kernels::Kernels;

#[path = "../crates/kernels/examples/ceiling/loops.rs"]
mod loops;
mod stock;

/// What the loops are of.
#[derive(Clone, Copy)]
enum Precision {
    F32,
    Bf16,
    Int8,
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |i: usize, default| numbers.get(i).copied().unwrap_or(default);
    let (rounds, texts, tokens) = (number(0, 5), number(1, 32), number(2, 128));
    let folder = stock::folder();
    println!("{folder}");
    let ids = stock::ids(texts, tokens);
    let inputs: Vec<Input> =
        ids.iter().map(|ids| Input::Ids { ids: ids.clone(), type_ids: None, attention_mask: None }).collect();

    for (dtype, precision) in
        [(Dtype::Float32, Precision::F32), (Dtype::Bfloat16, Precision::Bf16), (Dtype::Int8, Precision::Int8)]
    {
        let options = LoadOptions { device: DeviceChoice::Cpu, dtype, ..LoadOptions::default() };
        let encoder = Encoder::from_pretrained(&folder, &options)?;
        let operations = operations(&stock::config(&folder)?, texts, tokens);
        let ceiling = loops::ceiling(Kernels::chosen()?, precision);
        let candle = matches!(dtype, Dtype::Float32).then(|| stock::Stock::load(&folder)).transpose()?;
        let (mut rates, mut shares, mut times) = (Vec::new(), Vec::new(), Vec::new());
        encoder.encode(&inputs, &EncodeOptions::default())?;
        for _ in 0..rounds {
            let start = Instant::now();
            drop(encoder.encode(&inputs, &EncodeOptions::default())?);
            let took = start.elapsed();
            rates.push(operations / took.as_secs_f64() / 1e9);
            if let Some(ceiling) = ceiling {
                shares.push(operations / took.as_secs_f64() / highest(ceiling, encoder.threads(), took));
            }
            if let Some(candle) = &candle {
                let start = Instant::now();
                candle.forward(&ids)?;
                times.push(start.elapsed().as_secs_f64() / took.as_secs_f64());
            }
        }
        print!("{texts} × {tokens}, {} {dtype}: {:.0} Gop/s", encoder.instruction_set(), median(&mut rates));
        if !shares.is_empty() {
            print!(", {:.1} % of the ceiling", 100.0 * median(&mut shares));
        }
        if !times.is_empty() {
            print!(", {:.2} × stock candle", median(&mut times));
        }
        println!();
    }
    Ok(())
}

/// Two for each multiply-add of the linear layers, of scores and of weighted sums.
fn operations(config: &serde_json::Value, texts: usize, tokens: usize) -> f64 {
    let size = |name: &str| config[name].as_f64().unwrap_or(f64::NAN);
    let (hidden, inner) = (size("hidden_size"), size("intermediate_size"));
    let a_token = 4.0 * hidden * hidden + 2.0 * hidden * inner + 2.0 * tokens as f64 * hidden;
    2.0 * a_token * size("num_hidden_layers") * (texts * tokens) as f64
}

/// The operations a second of the loop, on so many threads for so long.
fn highest(ceiling: unsafe fn() -> f64, threads: usize, time: Duration) -> f64 {
    let one = || {
        let (start, mut operations) = (Instant::now(), 0.0);
        while start.elapsed() < time {
            // SAFETY: chosen for an instruction set that this processor has.
            operations += unsafe { ceiling() };
        }
        operations / start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum()
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
