//! How fast a model encodes, and what share of the time its layers take: for a profiler, which sees no JavaScript here.
//!
//!     cargo run --release -p bert-layers --example throughput -- MODEL [TEXTS] [TOKENS] [RUNS] [DTYPE]

use std::time::Instant;

use bert_layers::{Dtype, EncodeOptions, Encoder, Input, LoadOptions, Result};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| args.get(i).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (texts, tokens, runs) = (number(1, 32), number(2, 128), number(3, 5));
    let model = args.first().map_or("models/all-minilm-l6-v2", String::as_str);
    let dtype = args.get(4).map_or(Ok(Dtype::default()), |dtype| dtype.parse())?;
    let encoder = Encoder::from_pretrained(model, &LoadOptions { dtype, ..LoadOptions::default() })?;
    let vocab = encoder.config().vocab_size() as u32;
    let inputs: Vec<Input> = (0..texts as u32)
        .map(|row| Input::Ids {
            ids: (0..tokens as u32).map(|j| (1000 + row * 7 + j * 13) % vocab).collect(),
            type_ids: None,
            attention_mask: None,
        })
        .collect();
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..=runs {
        let start = Instant::now();
        let states = encoder.encode(&inputs, &EncodeOptions::default())?;
        seconds.push(start.elapsed().as_secs_f64());
        drop(states);
    }
    let warm = &mut seconds[1..];
    warm.sort_by(f64::total_cmp);
    println!(
        "{texts} × {tokens} on {} ({} threads): best {:.2} ms, median {:.2} ms, {:.0} tokens/s",
        encoder.instruction_set(),
        encoder.threads(),
        warm[0] * 1e3,
        warm[runs / 2] * 1e3,
        (texts * tokens) as f64 / warm[runs / 2]
    );
    Ok(())
}
