//! What this processor can do in f32 on one thread, and how much of it the kernels get.
//!
//!     cargo run --release -p bert-layers-kernels --example ceiling [INSTRUCTION_SET] [RUNS]
//!
//! "share" is the kernels' Gop/s (two per multiply-add) divided by those of a loop of multiply-adds that touches no memory.
//! Both are the best of several runs, as other processes only ever make them slower.

use std::hint::black_box;
use std::time::Instant;

use bert_layers_kernels::{Activation, Epilogue, Heads, Kernels, PackedMatrix, Solo, try_zeroed};

/// Seconds of the fastest of some runs.
fn best(runs: usize, mut f: impl FnMut()) -> f64 {
    f();
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

#[cfg(target_arch = "x86_64")]
mod ceiling {
    pub const STEPS: u64 = 1_000_000;

    /// Ten independent chains, more than the four cycles times two units that keep the processor busy. In assembly, as a
    /// compiler has its own ideas about a loop that computes nothing.
    macro_rules! loop_of {
        ($name:ident, $features:literal, $register:literal, $lanes:literal) => {
            /// Runs `STEPS` steps of ten multiply-adds and says how many operations that were.
            #[target_feature(enable = $features)]
            pub fn $name() -> f64 {
                // SAFETY: it changes only the registers that it names, and has the instructions.
                unsafe {
                    std::arch::asm!(
                        "2:",
                        concat!("vfmadd231ps ", $register, "0, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "1, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "2, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "3, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "4, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "5, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "6, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "7, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "8, ", $register, "10, ", $register, "11"),
                        concat!("vfmadd231ps ", $register, "9, ", $register, "10, ", $register, "11"),
                        "dec {steps}",
                        "jnz 2b",
                        steps = inout(reg) STEPS => _,
                        inout("xmm0") 0.0f32 => _, inout("xmm1") 0.0f32 => _, inout("xmm2") 0.0f32 => _,
                        inout("xmm3") 0.0f32 => _, inout("xmm4") 0.0f32 => _, inout("xmm5") 0.0f32 => _,
                        inout("xmm6") 0.0f32 => _, inout("xmm7") 0.0f32 => _, inout("xmm8") 0.0f32 => _,
                        inout("xmm9") 0.0f32 => _, in("xmm10") 1.0f32, in("xmm11") 1.0f32,
                        options(nomem, nostack),
                    );
                }
                (STEPS * 10 * $lanes * 2) as f64
            }
        };
    }

    loop_of!(avx512, "avx512f", "zmm", 16);
    loop_of!(avx2, "avx2,fma", "ymm", 8);
}

/// Gop/s of multiply-adds between registers, where somebody has written that loop.
fn ceiling(kernels: Kernels) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let run: unsafe fn() -> f64 = match kernels.name() {
            "avx512" => ceiling::avx512,
            "avx2" => ceiling::avx2,
            _ => return None,
        };
        let mut operations = 0.0;
        // SAFETY: `kernels` is there, so its instructions are.
        let seconds = best(20, || operations = unsafe { run() });
        Some(operations / seconds / 1e9)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = kernels;
        None
    }
}

fn report(what: &str, operations: f64, seconds: f64, ceiling: Option<f64>) {
    let rate = operations / seconds / 1e9;
    let share = ceiling.map_or(String::new(), |ceiling| format!("{:6.1} %", 100.0 * rate / ceiling));
    println!("  {what:<44}{:10.1} µs{rate:9.1} Gop/s {share}", seconds * 1e6);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next();
    let runs: usize = arguments.next().map_or(Ok(5), |runs| runs.parse())?;
    for kernels in Kernels::available() {
        if only.as_ref().is_some_and(|only| only != kernels.name()) {
            continue;
        }
        let ceiling = ceiling(kernels);
        println!("{}: ceiling {:.1} Gop/s", kernels.name(), ceiling.unwrap_or(f64::NAN));
        for (rows, inp, out, activation, residual) in [
            (128, 768, 2304, Activation::Identity, false),
            (128, 768, 768, Activation::Identity, true),
            (128, 768, 3072, Activation::Identity, false),
            (128, 768, 3072, Activation::Gelu, false),
            (128, 3072, 768, Activation::Identity, true),
            (128, 384, 1536, Activation::Gelu, false),
            (512, 768, 3072, Activation::Identity, false),
            (16, 768, 3072, Activation::Identity, false),
            (16, 768, 3072, Activation::Gelu, false),
            (16, 3072, 768, Activation::Identity, true),
            (1, 768, 3072, Activation::Identity, false),
        ] {
            // Several matrices in turn, as layers come: the weights come from memory, not from the cache.
            let copies = (256 << 20) / (inp * out * 4);
            let (x, bias) = (vec![0.5; rows * inp], vec![0.1; out]);
            let weight = vec![0.01; inp * out];
            let matrices: Result<Vec<_>, _> =
                (0..copies).map(|_| PackedMatrix::pack(kernels, &weight, out, inp)).collect();
            let matrices = matrices?;
            let mut result = try_zeroed(rows * out)?;
            let added = vec![0.2; rows * out];
            let epilogue = Epilogue { bias: Some(&bias), activation, residual: residual.then_some(&added[..]) };
            let seconds = best(runs, || {
                for w in &matrices {
                    kernels.linear(&Solo, black_box(&x), w, epilogue, &mut result);
                }
            }) / copies as f64;
            let residual = if residual { " + residual" } else { "" };
            let what = format!("linear {rows}×{inp}×{out} {activation:?}{residual}");
            report(&what, 2.0 * (rows * inp * out) as f64, seconds, ceiling);
        }
        for len in [16, 27, 128, 512] {
            let heads = Heads { count: 12, dim: 64, scale: 0.125 };
            let qkv = vec![0.5; len * 3 * heads.hidden()];
            let mut result = try_zeroed(len * heads.hidden())?;
            let text = 0..len;
            let texts = std::slice::from_ref(&text);
            let seconds = best(30, || {
                kernels.attention(&Solo, black_box(&qkv), texts, None, heads, &mut result);
            });
            report(
                &format!("attention 12×64, {len} tokens"),
                4.0 * (len * len * heads.hidden()) as f64,
                seconds,
                ceiling,
            );
        }
        let (mut x, ones) = (vec![0.5; 128 * 768], vec![1.0; 768]);
        let seconds = best(100, || kernels.layer_norm_in_place(&Solo, black_box(&mut x), &ones, Some(&ones), 1e-12));
        println!("  layer_norm 128×768{:36.1} µs", seconds * 1e6);
        let mut x = vec![0.5; 128 * 3072];
        for activation in [Activation::Gelu, Activation::GeluTanh] {
            let seconds = best(30, || kernels.activate(&Solo, activation, black_box(&mut x)));
            println!("  {:<44}{:10.1} µs", format!("{activation:?} 128×3072"), seconds * 1e6);
        }
    }
    Ok(())
}
