//! Checks and measures a device: what a machine with a GPU needs of us is this one program, and benches/gpu/run beside it.
//!
//!     gpu weights FOLDER [tiny]                 a BERT-base, or a tiny BERT, of random weights from a seed
//!     gpu check [--device D] [GOLDENS...]       every folder with Transformers' numbers, in float32, bfloat16 and float16
//!     gpu measure FOLDER OUT.json [--device D] [--small]    the cases of the comparison with PyTorch
//!
//! D: `cuda` (the default), `cuda:N`, `cpu`, or `candle`, the reference on the CPU, with which the program itself is tested.

mod check;
mod measure;
mod weights;

use std::process::ExitCode;

use bert_layers::DeviceChoice;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let small = take(&mut args, "--small").is_some();
    let device = match args.iter().position(|arg| arg == "--device") {
        Some(at) if at + 1 < args.len() => args.drain(at..at + 2).nth(1).unwrap_or_default(),
        _ => "cuda".into(),
    };
    let device = match device.as_str() {
        "candle" => Ok(DeviceChoice::CandleCpu),
        name => name.parse(),
    };
    let done = device.map_err(Into::into).and_then(|device| {
        match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["weights", folder] => weights::write(folder.as_ref(), &weights::BASE),
            ["weights", folder, "tiny"] => weights::write(folder.as_ref(), &weights::TINY),
            ["check", folders @ ..] => check::check(device, folders),
            ["measure", folder, out] => measure::measure(device, folder, out.as_ref(), small),
            _ => {
                Err("usage: gpu weights FOLDER [tiny] | check [GOLDENS...] | measure FOLDER OUT.json [--small]".into())
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gpu: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Removes a flag, if it is there.
fn take(args: &mut Vec<String>, flag: &str) -> Option<String> {
    let at = args.iter().position(|arg| arg == flag)?;
    Some(args.remove(at))
}

/// What any step may fail with.
type Done<T = ()> = Result<T, Box<dyn std::error::Error>>;
