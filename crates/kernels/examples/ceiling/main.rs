//! What this processor can do on one thread, and how much of it the kernels get.
//!
//!     cargo run --release -p bert-layers-kernels --example ceiling [INSTRUCTION_SET [RUNS [PRECISION [ONLY]]]]
//!
//! The share is that of the kernels' Gop/s (two per multiply-add) in those of a loop of multiply-adds that touches no memory.
//! ONLY is a part of a line, such as "128×768×3072 Gelu": other lines are left out. The two run in turn, and each counts with its best run, as other processes only ever make them slower.

mod loops;

use std::hint::black_box;
use std::time::Instant;

use bert_layers_kernels::{
    Activation, AllocError, Bf16, Converted, Epilogue, Heads, Kernels, PackedBf16, PackedInt8, PackedMatrix,
    QuantizedRows, Solo, try_zeroed,
};
use loops::ceiling;

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Precision {
    F32,
    Bf16,
    Int8,
}

/// One set, one precision.
#[derive(Clone, Copy)]
struct Bench<'a> {
    kernels: Kernels,
    only: Option<&'a str>,
    precision: Precision,
    runs: usize,
}

impl Bench<'_> {
    fn wants(self, what: &str) -> bool {
        self.only.is_none_or(|only| what.contains(only))
    }

    /// Calls `f` with each of `0..copies`, in turn with the loop, and prints the best of both.
    fn report(self, what: &str, operations: f64, copies: usize, mut f: impl FnMut(usize)) {
        if !self.wants(what) {
            return;
        }
        let ceiling = ceiling(self.kernels, self.precision);
        let (mut kernel, mut highest) = (f64::INFINITY, 0f64);
        f(0);
        for i in 0..self.runs * copies {
            kernel = kernel.min(seconds(|| f(i % copies)));
            if let Some(ceiling) = ceiling {
                let mut count = 0.0;
                // SAFETY: the set has these instructions.
                let took = seconds(|| count = unsafe { ceiling() });
                highest = highest.max(count / took / 1e9);
            }
        }
        let what = format!("{:?} {what}", self.precision);
        print!("  {what:<50}{:10.1} µs", kernel * 1e6);
        let rate = operations / kernel / 1e9;
        match (operations > 0.0, ceiling) {
            (true, Some(_)) => println!("{rate:9.1} of {highest:6.1} Gop/s{:7.1} %", 100.0 * rate / highest),
            (true, None) => println!("{rate:9.1} Gop/s"),
            (false, _) => println!(),
        }
    }
}

/// A weight matrix of any precision.
enum Matrix {
    F32(PackedMatrix),
    Bf16(PackedBf16),
    Int8(PackedInt8),
}

impl Matrix {
    fn pack(
        kernels: Kernels,
        precision: Precision,
        out: usize,
        inp: usize,
        outliers: usize,
    ) -> Result<Self, AllocError> {
        let weight = vec![0.01; inp * out];
        let parts = [(&weight[..], out)];
        Ok(match precision {
            Precision::F32 => Matrix::F32(PackedMatrix::pack_side_by_side(kernels, &parts, inp)?),
            Precision::Bf16 => Matrix::Bf16(PackedBf16::pack_side_by_side(kernels, &parts, inp)?),
            Precision::Int8 => {
                Matrix::Int8(PackedInt8::pack_side_by_side(kernels, &parts, inp, &spread(outliers, inp))?)
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

/// Rows, inputs, outputs, activation, whether there is a residual, and how many channels int8 keeps in f32.
const SHAPES: [(usize, usize, usize, Activation, bool, usize); 12] = [
    (128, 768, 2304, Activation::Identity, false, 8),
    (128, 768, 768, Activation::Identity, true, 8),
    (128, 768, 3072, Activation::Identity, false, 8),
    (128, 768, 3072, Activation::Gelu, false, 8),
    (128, 3072, 768, Activation::Identity, true, 8),
    (128, 3072, 768, Activation::Identity, true, 32),
    (128, 384, 1536, Activation::Gelu, false, 8),
    (512, 768, 3072, Activation::Identity, false, 8),
    (16, 768, 3072, Activation::Identity, false, 8),
    (16, 768, 3072, Activation::Gelu, false, 8),
    (16, 3072, 768, Activation::Identity, true, 8),
    (1, 768, 3072, Activation::Identity, false, 8),
];

/// That many of `inp` channels.
fn spread(outliers: usize, inp: usize) -> Vec<usize> {
    (0..outliers).map(|i| i * inp / outliers).collect()
}

fn quantized(kernels: Kernels, w: &PackedInt8, rows: usize) -> Result<QuantizedRows, AllocError> {
    let mut quantized = QuantizedRows::default();
    quantized.prepare(w, rows)?;
    kernels.convert(&Solo, &vec![0.5; rows * w.inputs()], w.inputs(), Converted::Int8(w, &mut quantized));
    Ok(quantized)
}

fn linear(bench: Bench<'_>) -> Result<(), AllocError> {
    let Bench { kernels, precision, .. } = bench;
    for (rows, inp, out, activation, residual, outliers) in SHAPES {
        if outliers != 8 && precision != Precision::Int8 {
            continue;
        }
        let mut what = format!("{rows}×{inp}×{out} {activation:?}{}", if residual { " + residual" } else { "" });
        if outliers != 8 {
            what += &format!(", {outliers} outliers");
        }
        if !bench.wants(&what) {
            continue;
        }
        // Several matrices in turn, as layers come: the weights come from memory, not from the cache.
        let first = Matrix::pack(kernels, precision, out, inp, outliers)?;
        let copies = (128 << 20) / first.bytes();
        let matrices: Result<Vec<_>, _> =
            (0..copies).map(|_| Matrix::pack(kernels, precision, out, inp, outliers)).collect();
        let matrices = matrices?;
        let (x, bias, added) = (vec![0.5; rows * inp], vec![0.1; out], vec![0.2; rows * out]);
        let rounded = vec![Bf16::from_f32(0.5); rows * inp];
        let mut result = try_zeroed(rows * out)?;
        let mut narrow = vec![Bf16::default(); rows * out];
        let (mut inputs, mut inner) = (QuantizedRows::default(), QuantizedRows::default());
        let next = PackedInt8::pack_side_by_side(kernels, &[(&vec![0.01; out], 1)], out, &spread(outliers, out))?;
        if let Matrix::Int8(w) = &first {
            inputs = quantized(kernels, w, rows)?;
            inner.prepare(&next, rows)?;
        }
        let epilogue =
            Epilogue { bias: Some(&bias), activation, residual: residual.then_some(&added[..]), ..Epilogue::default() };
        bench.report(&what, 2.0 * (rows * inp * out) as f64, copies, |copy| match &matrices[copy] {
            Matrix::F32(w) => kernels.linear(&Solo, black_box(&x), w, epilogue, &mut result),
            Matrix::Bf16(w) if residual => {
                kernels.linear_bf16(&Solo, black_box(&rounded), w, epilogue, &mut result[..]);
            }
            Matrix::Bf16(w) => kernels.linear_bf16(&Solo, black_box(&rounded), w, epilogue, &mut narrow[..]),
            Matrix::Int8(w) => {
                let x = black_box(&inputs).rows(0..rows);
                if residual {
                    kernels.linear_int8(&Solo, x, w, epilogue, &mut result[..]);
                } else if activation == Activation::Identity {
                    kernels.linear_int8(&Solo, x, w, epilogue, &mut narrow[..]);
                } else {
                    kernels.linear_int8_quantized(&Solo, x, w, epilogue, &next, &mut inner);
                }
            }
        });
    }
    Ok(())
}

fn attention(bench: Bench<'_>) {
    for len in [16, 27, 128, 512] {
        let heads = Heads { count: 12, dim: 64, scale: 0.125 };
        let (qkv, rounded) = (vec![0.5; len * 3 * heads.hidden()], vec![Bf16::from_f32(0.5); len * 3 * heads.hidden()]);
        let (mut result, mut narrow) = (vec![0.0; len * heads.hidden()], vec![Bf16::default(); len * heads.hidden()]);
        let text = 0..len;
        let texts = std::slice::from_ref(&text);
        let operations = 4.0 * (len * len * heads.hidden()) as f64;
        bench.report(&format!("attention 12×64, {len} tokens"), operations, 50, |_| match bench.precision {
            Precision::F32 => {
                bench.kernels.attention(&Solo, black_box(&qkv), texts, None, heads, &mut result);
            }
            _ => {
                let qkv = black_box(&rounded);
                bench.kernels.attention_bf16(&Solo, qkv, texts, None, heads, &mut narrow[..]);
            }
        });
    }
}

fn rows(bench: Bench<'_>) -> Result<(), AllocError> {
    let Bench { kernels, precision, .. } = bench;
    let (mut x, ones) = (vec![0.5; 128 * 768], vec![1.0; 768]);
    let next = PackedInt8::pack_side_by_side(kernels, &[(&ones, 1)], 768, &spread(8, 768))?;
    let mut narrow = vec![Bf16::default(); x.len()];
    let mut small = quantized(kernels, &next, 128)?;
    macro_rules! to {
        () => {
            match precision {
                Precision::F32 => None,
                Precision::Bf16 => Some(Converted::Bf16(&mut narrow)),
                Precision::Int8 => Some(Converted::Int8(&next, &mut small)),
            }
        };
    }
    bench.report("layer_norm 128×768", 0.0, 50, |_| match to!() {
        None => kernels.layer_norm_in_place(&Solo, black_box(&mut x), &ones, Some(&ones), 1e-12),
        Some(to) => kernels.layer_norm_converting(&Solo, black_box(&mut x), &ones, Some(&ones), 1e-12, to),
    });
    if to!().is_some() {
        bench.report("convert 128×768", 0.0, 50, |_| {
            if let Some(to) = to!() {
                kernels.convert(&Solo, black_box(&x), 768, to);
            }
        });
    }
    if precision == Precision::F32 {
        let mut x = vec![0.5; 128 * 3072];
        for activation in [Activation::Gelu, Activation::GeluTanh] {
            let what = format!("{activation:?} 128×3072");
            bench.report(&what, 0.0, 50, |_| kernels.activate(&Solo, activation, black_box(&mut x)));
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let set = arguments.next();
    let runs: usize = arguments.next().map_or(Ok(5), |runs| runs.parse())?;
    let (which, only) = (arguments.next(), arguments.next());
    for kernels in Kernels::available() {
        if set.as_ref().is_some_and(|set| set != kernels.name()) {
            continue;
        }
        println!("{} {:?}", kernels.name(), kernels.extensions());
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            if which.as_ref().is_some_and(|which| !which.eq_ignore_ascii_case(&format!("{precision:?}"))) {
                continue;
            }
            let bench = Bench { kernels, only: only.as_deref(), precision, runs };
            linear(bench)?;
            attention(Bench {
                precision: if precision == Precision::F32 { Precision::F32 } else { Precision::Bf16 },
                ..bench
            });
            rows(bench)?;
        }
    }
    Ok(())
}
