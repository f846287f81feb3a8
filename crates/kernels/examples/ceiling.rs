//! What this processor can do on one thread, and how much of it the kernels get.
//!
//!     cargo run --release -p bert-layers-kernels --example ceiling [INSTRUCTION_SET] [RUNS] [PRECISION]
//!
//! "share" is the kernels' Gop/s (two per multiply-add) divided by those of a loop of multiply-adds that touches no memory.
//! Both are the best of several runs, as other processes only ever make them slower.

use std::hint::black_box;
use std::time::Instant;

use bert_layers_kernels::{
    Activation, AllocError, Bf16, Converted, Epilogue, Heads, Kernels, PackedBf16, PackedInt8, PackedMatrix,
    QuantizedRows, Solo, try_zeroed,
};

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

/// Loops of one instruction between registers.
#[cfg(target_arch = "x86_64")]
mod ceiling {
    pub const STEPS: u64 = 500_000;

    /// Ten independent chains, more than the four cycles times two units that keep the processor busy. In assembly, as a
    /// compiler has its own ideas about a loop that computes nothing.
    macro_rules! loop_of {
        ($name:ident, $features:literal, $instruction:literal, $register:literal, $multiplies:literal) => {
            /// Runs `STEPS` steps of ten instructions and says how many operations that were: two for each multiply-add.
            #[target_feature(enable = $features)]
            pub fn $name() -> f64 {
                // SAFETY: it changes only the registers that it names, and has the instructions.
                unsafe {
                    std::arch::asm!(
                        "2:",
                        concat!($instruction, " ", $register, "0, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "1, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "2, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "3, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "4, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "5, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "6, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "7, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "8, ", $register, "10, ", $register, "11"),
                        concat!($instruction, " ", $register, "9, ", $register, "10, ", $register, "11"),
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
                (STEPS * 10 * $multiplies * 2) as f64
            }
        };
    }

    loop_of!(avx512_f32, "avx512f", "vfmadd231ps", "zmm", 16);
    loop_of!(avx512_bf16, "avx512f,avx512bf16", "vdpbf16ps", "zmm", 32);
    loop_of!(avx512_int8, "avx512f,avx512vnni", "vpdpbusd", "zmm", 64);
    loop_of!(avx2_f32, "avx2,fma", "vfmadd231ps", "ymm", 8);
    loop_of!(avx2_int8, "avx2,avxvnni", "{{vex}} vpdpbusd", "ymm", 32);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Precision {
    F32,
    Bf16,
    Int8,
}

/// Gop/s of multiply-adds between registers, by the instruction that this set uses, where somebody has written that loop.
fn ceiling(kernels: Kernels, precision: Precision) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let has = |extension| kernels.extensions().contains(&extension);
        let run: unsafe fn() -> f64 = match precision {
            Precision::F32 if kernels.name().starts_with("avx512") => ceiling::avx512_f32,
            Precision::F32 if kernels.name().starts_with("avx2") => ceiling::avx2_f32,
            Precision::Bf16 if has("avx512_bf16") => ceiling::avx512_bf16,
            Precision::Int8 if has("avx512_vnni") => ceiling::avx512_int8,
            Precision::Int8 if has("avx_vnni") => ceiling::avx2_int8,
            _ => return None,
        };
        let mut operations = 0.0;
        // SAFETY: `kernels` is there, so its instructions are.
        let seconds = best(20, || operations = unsafe { run() });
        Some(operations / seconds / 1e9)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (kernels, precision);
        None
    }
}

fn report(what: &str, operations: f64, seconds: f64, ceiling: Option<f64>) {
    let rate = operations / seconds / 1e9;
    let share = ceiling.map_or(String::new(), |ceiling| format!("{:6.1} %", 100.0 * rate / ceiling));
    println!("  {what:<54}{:10.1} µs{rate:9.1} Gop/s {share}", seconds * 1e6);
}

/// A weight matrix of any precision.
enum Matrix {
    F32(PackedMatrix),
    Bf16(PackedBf16),
    Int8(PackedInt8),
}

impl Matrix {
    fn pack(kernels: Kernels, precision: Precision, out: usize, inp: usize) -> Result<Self, AllocError> {
        let weight = vec![0.01; inp * out];
        let parts = [(&weight[..], out)];
        Ok(match precision {
            Precision::F32 => Matrix::F32(PackedMatrix::pack_side_by_side(kernels, &parts, inp)?),
            Precision::Bf16 => Matrix::Bf16(PackedBf16::pack_side_by_side(kernels, &parts, inp)?),
            Precision::Int8 => {
                Matrix::Int8(PackedInt8::pack_side_by_side(kernels, &parts, inp, &[1, 2, 3, 5, 8, 13, 21, 34])?)
            }
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Matrix::F32(w) => w.bytes(),
            Matrix::Bf16(w) => w.bytes(),
            Matrix::Int8(w) => w.bytes(),
        }
    }
}

const SHAPES: [(usize, usize, usize, Activation, bool); 11] = [
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
];

fn linear(kernels: Kernels, precision: Precision, runs: usize, ceiling: Option<f64>) -> Result<(), AllocError> {
    for (rows, inp, out, activation, residual) in SHAPES {
        // Several matrices in turn, as layers come: the weights come from memory, not from the cache.
        let first = Matrix::pack(kernels, precision, out, inp)?;
        let copies = (128 << 20) / first.bytes();
        let matrices: Result<Vec<_>, _> = (0..copies).map(|_| Matrix::pack(kernels, precision, out, inp)).collect();
        let matrices = matrices?;
        let (x, bias) = (vec![0.5; rows * inp], vec![0.1; out]);
        let rounded = vec![Bf16::from_f32(0.5); rows * inp];
        let mut quantized = QuantizedRows::default();
        if let Matrix::Int8(w) = &first {
            quantized.prepare(w, rows)?;
            kernels.convert(&Solo, &x, inp, Converted::Int8(w, &mut quantized));
        }
        let mut result = try_zeroed(rows * out)?;
        let mut narrow = vec![Bf16::default(); rows * out];
        let added = vec![0.2; rows * out];
        let epilogue = Epilogue { bias: Some(&bias), activation, residual: residual.then_some(&added[..]) };
        let seconds = best(runs, || {
            for w in &matrices {
                match w {
                    Matrix::F32(w) => kernels.linear(&Solo, black_box(&x), w, epilogue, &mut result),
                    Matrix::Bf16(w) if residual => {
                        kernels.linear_bf16(&Solo, black_box(&rounded), w, epilogue, &mut result[..]);
                    }
                    Matrix::Int8(w) => {
                        let x = black_box(&quantized).rows(0..rows);
                        kernels.linear_int8(&Solo, x, w, epilogue, &mut result[..]);
                    }
                    Matrix::Bf16(w) => kernels.linear_bf16(&Solo, black_box(&rounded), w, epilogue, &mut narrow[..]),
                }
            }
        }) / copies as f64;
        let residual = if residual { " + residual" } else { "" };
        let what = format!("linear {precision:?} {rows}×{inp}×{out} {activation:?}{residual}");
        report(&what, 2.0 * (rows * inp * out) as f64, seconds, ceiling);
    }
    Ok(())
}

fn attention(kernels: Kernels, ceiling: Option<f64>) {
    for len in [16, 27, 128, 512] {
        let heads = Heads { count: 12, dim: 64, scale: 0.125 };
        let qkv = vec![0.5; len * 3 * heads.hidden()];
        let mut result = vec![0.0; len * heads.hidden()];
        let text = 0..len;
        let texts = std::slice::from_ref(&text);
        let seconds = best(30, || {
            kernels.attention(&Solo, black_box(&qkv), texts, None, heads, &mut result);
        });
        let operations = 4.0 * (len * len * heads.hidden()) as f64;
        report(&format!("attention F32 12×64, {len} tokens"), operations, seconds, ceiling);
    }
}

fn rows(kernels: Kernels) {
    let say = |what: &str, seconds: f64| println!("  {what:<54}{:10.1} µs", seconds * 1e6);
    let (mut x, ones) = (vec![0.5; 128 * 768], vec![1.0; 768]);
    let seconds = best(100, || kernels.layer_norm_in_place(&Solo, black_box(&mut x), &ones, Some(&ones), 1e-12));
    say("layer_norm 128×768", seconds);
    let mut x = vec![0.5; 128 * 3072];
    for activation in [Activation::Gelu, Activation::GeluTanh] {
        let seconds = best(30, || kernels.activate(&Solo, activation, black_box(&mut x)));
        say(&format!("{activation:?} 128×3072"), seconds);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next();
    let runs: usize = arguments.next().map_or(Ok(5), |runs| runs.parse())?;
    let which = arguments.next();
    for kernels in Kernels::available() {
        if only.as_ref().is_some_and(|only| only != kernels.name()) {
            continue;
        }
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            if which.as_ref().is_some_and(|which| !which.eq_ignore_ascii_case(&format!("{precision:?}"))) {
                continue;
            }
            let ceiling = ceiling(kernels, precision);
            println!("{}, {precision:?}: ceiling {:.1} Gop/s", kernels.name(), ceiling.unwrap_or(f64::NAN));
            linear(kernels, precision, runs, ceiling)?;
            if precision == Precision::F32 {
                attention(kernels, ceiling);
                rows(kernels);
            }
        }
    }
    Ok(())
}
