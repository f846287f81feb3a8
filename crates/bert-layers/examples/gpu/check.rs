//! Every folder with Transformers' numbers, on the device: float32 within five times the CPU's bounds, the 16-bit types by cosine.

use std::path::Path;

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, HiddenStates, LoadOptions};

use crate::Done;

#[path = "../../tests/support/mod.rs"]
mod support;

use support::{Case, Goldens, cosine};

/// Checks these folders and those in them, test/fixtures of the working directory by default.
pub fn check(device: DeviceChoice, folders: &[&str]) -> Done {
    let mut found = Vec::new();
    for folder in if folders.is_empty() { &["test/fixtures"] } else { folders } {
        find(folder.as_ref(), &mut found)?;
    }
    if found.is_empty() {
        return Err(format!("no goldens.safetensors in {folders:?}").into());
    }
    found.sort();
    let (mut checked, mut wrong) = (0, Vec::new());
    for folder in &found {
        for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Float16] {
            checked += 1;
            match worst(device, folder, dtype) {
                Ok((off, away)) => {
                    let right = match dtype {
                        Dtype::Float32 => off <= 5.0 * 2e-4 && away <= 5.0 * 1e-6,
                        _ => away <= 1e-3,
                    };
                    println!(
                        "{} {folder} {dtype}: |Δ| ≤ {off:.2e}, 1 − cosine ≤ {away:.2e}",
                        if right { "ok   " } else { "WRONG" }
                    );
                    if !right {
                        wrong.push(format!("{folder} {dtype}"));
                    }
                }
                Err(e) => {
                    println!("WRONG {folder} {dtype}: {e}");
                    wrong.push(format!("{folder} {dtype}"));
                }
            }
        }
    }
    println!("{checked} checked, {} wrong", wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ").into()) }
}

/// Folders with a model and goldens of ids; those called text-* have goldens of texts, and are there for their tokenizers.
fn find(folder: &Path, found: &mut Vec<String>) -> Done {
    let folder = std::fs::canonicalize(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    if folder.join("goldens.safetensors").is_file() && folder.join("config.json").is_file() {
        found.push(folder.to_string_lossy().into_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let of_texts = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("text-"));
        if path.is_dir() && !of_texts {
            find(&path, found)?;
        }
    }
    Ok(())
}

/// The largest difference and the largest distance of a cosine from 1, of all layers and unmasked tokens; texts packed, and padded with
/// a mask.
fn worst(device: DeviceChoice, folder: &str, dtype: Dtype) -> Done<(f64, f64)> {
    let encoder = Encoder::from_pretrained(folder, &LoadOptions { device, dtype, ..LoadOptions::default() })?;
    let goldens = Goldens::read(folder);
    let cases = ["short", "long"].into_iter().filter(|case| goldens.find(&format!("{case}.hidden_states")).is_some());
    let (mut off, mut away, mut compared) = (0.0, 0.0, 0);
    for case in cases.map(|case| Case::read(&goldens, case)) {
        for inputs in [case.packed(), case.padded()] {
            let states: HiddenStates = encoder.encode(&inputs, &EncodeOptions::default())?;
            for &layer in states.layers() {
                for (text, token, theirs) in case.tokens(layer) {
                    let ours = states.token(layer, text, token).ok_or("a token is missing")?;
                    // Written so that NaN is the worst of all.
                    let most = |worst: f64, x: f64| if x <= worst { worst } else { x };
                    off = ours.iter().zip(theirs).fold(off, |off, (&a, &b)| most(off, (f64::from(a) - b).abs()));
                    away = most(away, 1.0 - cosine(ours, theirs));
                    compared += 1;
                }
            }
        }
    }
    if compared == 0 { Err("its goldens have no case that is known here".into()) } else { Ok((off, away)) }
}
