//! The cases of the comparison with PyTorch, which benches/gpu/pytorch.py measures on the same weights and ids.

use std::path::Path;
use std::time::Instant;

use bert_layers::{DeviceChoice, Dtype, EmbedInput, EmbedOptions, EncodeOptions, Encoder, Input, LoadOptions, Pool};
use serde_json::{Value, json};

use crate::Done;

/// Token counts of the ragged case: 128 real sentences (benches/peers/lengths.json).
const RAGGED: &str = include_str!("../../../../benches/peers/lengths.json");
/// Warm-up runs, and runs of which the median counts.
const WARM: usize = 5;
const RUNS: usize = 15;

/// Name and token counts of each case.
fn cases(small: bool) -> Done<Vec<(String, Vec<usize>)>> {
    let sizes: &[(usize, usize)] =
        if small { &[(1, 16), (4, 32)] } else { &[(1, 16), (1, 128), (32, 128), (256, 128), (32, 512)] };
    let even = sizes.iter().map(|&(texts, tokens)| (format!("b{texts}_s{tokens}"), vec![tokens; texts]));
    let mut ragged: Vec<usize> = serde_json::from_str(RAGGED)?;
    if small {
        ragged.truncate(8);
    }
    Ok(even.chain([("ragged".to_owned(), ragged)]).collect())
}

/// Measures every case in every dtype and writes the record.
pub fn measure(device: DeviceChoice, folder: &str, out: &Path, small: bool) -> Done {
    let mut record = Vec::new();
    for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Float16] {
        let encoder = Encoder::from_pretrained(folder, &LoadOptions { device, dtype, ..LoadOptions::default() })?;
        for (name, lengths) in cases(small)? {
            let measured = case(&encoder, &lengths)?;
            println!("{dtype} {name}: {measured}");
            record.push(json!({ "case": name, "dtype": dtype.to_string(), "lengths": lengths, "ours": measured }));
        }
    }
    let about =
        json!({ "device": format!("{device:?}"), "model": folder, "warm": WARM, "runs": RUNS, "cases": record });
    std::fs::write(out, serde_json::to_vec_pretty(&about)?)?;
    Ok(())
}

/// One case: all hidden states in the host's memory; one vector a text; and the parts of the former, each alone.
fn case(encoder: &Encoder, lengths: &[usize]) -> Done<Value> {
    let vocab = encoder.config().vocab_size() as u32;
    // The ids of pytorch.py.
    let id = |text: usize, token: usize| (1000 + text as u32 * 7 + token as u32 * 13) % vocab;
    let inputs: Vec<Input> = lengths
        .iter()
        .enumerate()
        .map(|(text, &len)| Input::Ids {
            ids: (0..len).map(|token| id(text, token)).collect(),
            type_ids: None,
            attention_mask: None,
        })
        .collect();
    let embed: Vec<EmbedInput> = inputs.iter().cloned().map(EmbedInput::from).collect();
    let options = EmbedOptions { pool: Some(Pool::Mean), normalize: Some(false), ..EmbedOptions::default() };
    let states = median(|| Ok(encoder.encode(&inputs, &EncodeOptions::default()).map(drop)?))?;
    let pooled = median(|| Ok(encoder.embed(&embed, &options).map(drop)?))?;
    let rows: usize = lengths.iter().sum();
    let layers = encoder.config().num_layers() + 1;
    let copy = copy_alone(rows, encoder.config().hidden_size(), layers, encoder.dtype())?;
    // Vectors need all that states need but the copy.
    let bound = copy.map(|copy| states / copy.max(pooled));
    Ok(json!({ "states_ms": states, "pooled_ms": pooled, "copy_alone_ms": copy, "states_by_larger_part": bound }))
}

/// All layers' rows from the device to page-locked memory, and nothing else.
#[cfg(feature = "cuda")]
fn copy_alone(rows: usize, hidden: usize, layers: usize, dtype: Dtype) -> Done<Option<f64>> {
    use candle_core::{DType, Tensor};
    let Ok(gpu) = bert_layers_cuda::Gpu::open(0) else { return Ok(None) };
    let dtype = match dtype {
        Dtype::Float16 => DType::F16,
        Dtype::Bfloat16 => DType::BF16,
        _ => DType::F32,
    };
    let states = Tensor::zeros((rows, hidden), dtype, &gpu.device())?;
    gpu.synchronize()?;
    let copy = || {
        let mut before = None;
        for _ in 0..layers {
            let reading: bert_layers_cuda::Reading = gpu.begin_read(&states)?;
            if let Some(before) = before.replace(reading) {
                before.wait()?;
            }
        }
        Ok(before.map_or(Ok(0), |last| last.wait().map(<[u8]>::len)).map(drop)?)
    };
    Ok(Some(median(copy)?))
}

#[cfg(not(feature = "cuda"))]
fn copy_alone(_: usize, _: usize, _: usize, _: Dtype) -> Done<Option<f64>> {
    Ok(None)
}

/// The median, in milliseconds.
fn median(mut run: impl FnMut() -> Done) -> Done<f64> {
    let mut times = Vec::with_capacity(RUNS);
    for turn in 0..WARM + RUNS {
        let start = Instant::now();
        run()?;
        if turn >= WARM {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}
