//! What every kernel means, in f64 and without any care for speed; and what the tests share.
#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::approx_constant)] // Transformers' own digits

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use bert_layers_kernels::{Activation, Heads, Kernels, Team};

/// A team of real threads that take tasks as they come.
pub struct Threads(pub usize);

impl Team for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= tasks {
                            break;
                        }
                        task(i);
                    }
                });
            }
        });
    }
}

/// Few, as each runs on every instruction set; and no files of failed cases beside the sources.
pub fn few_cases() -> proptest::test_runner::Config {
    proptest::test_runner::Config { cases: 24, failure_persistence: None, ..Default::default() }
}

/// Every instruction set that can run here.
pub fn all() -> Vec<Kernels> {
    Kernels::available()
}

/// `len` numbers in about ±2, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Fails unless |got − want| ≤ bound for every element.
#[track_caller]
pub fn assert_close(got: &[f32], want: &[f64], bound: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w).abs();
        assert!(error <= bound, "{what}: element {i} is {g}, should be {w}, off by {error:e}");
    }
}

/// x · Wᵀ + bias
pub fn linear(x: &[f32], weight: &[f32], bias: Option<&[f32]>, inp: usize, out: usize) -> Vec<f64> {
    let rows = x.len() / inp;
    let mut result = Vec::with_capacity(rows * out);
    for r in 0..rows {
        for o in 0..out {
            let product: f64 = (0..inp).map(|k| f64::from(x[r * inp + k]) * f64::from(weight[o * inp + k])).sum();
            result.push(product + bias.map_or(0.0, |b| f64::from(b[o])));
        }
    }
    result
}

/// Rows that belong to no text are NaN.
pub fn attention(qkv: &[f32], texts: &[Range<usize>], mask: Option<&[bool]>, heads: Heads) -> Vec<f64> {
    let (hidden, dim) = (heads.hidden(), heads.dim);
    let at =
        |row: usize, which: usize, head: usize, i: usize| f64::from(qkv[(3 * row + which) * hidden + head * dim + i]);
    let mut out = vec![f64::NAN; qkv.len() / 3];
    for text in texts {
        let keys: Vec<usize> = text.clone().filter(|&row| mask.is_none_or(|mask| mask[row])).collect();
        for head in 0..heads.count {
            for query in text.clone() {
                let score = |key| {
                    (0..dim).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum::<f64>() * f64::from(heads.scale)
                };
                let scores: Vec<f64> = keys.iter().map(|&key| score(key)).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                for i in 0..dim {
                    let sum: f64 = keys.iter().zip(&weights).map(|(&key, w)| w * at(key, 2, head, i)).sum();
                    out[query * hidden + head * dim + i] = if keys.is_empty() { 0.0 } else { sum / total };
                }
            }
        }
    }
    out
}

pub fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) -> Vec<f64> {
    let width = weight.len();
    x.chunks(width)
        .flat_map(|row| {
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + f64::from(eps)).sqrt();
            (0..width).map(move |i| {
                let y = (f64::from(row[i]) - mean) * scale * f64::from(weight[i]);
                y + bias.map_or(0.0, |b| f64::from(b[i]))
            })
        })
        .collect()
}

/// erf, by its power series where that is accurate and by the continued fraction of erfc elsewhere.
pub fn erf(x: f64) -> f64 {
    if x.abs() < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        (1.0 - erfc_far(x.abs())).copysign(x)
    }
}

/// 1 − erf x for x ≥ 2.5
fn erfc_far(x: f64) -> f64 {
    let mut fraction = x;
    for k in (1..80).rev() {
        fraction = x + f64::from(k) / 2.0 / fraction;
    }
    (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
}

/// The share of a normal distribution below x, accurate in both tails.
pub fn normal_cdf(x: f64) -> f64 {
    let t = x / std::f64::consts::SQRT_2;
    if t < -2.5 { 0.5 * erfc_far(-t) } else { 0.5 * (1.0 + erf(t)) }
}

/// The formulas of Transformers' activations.py and PyTorch's documentation.
pub fn activation(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
    match activation {
        Activation::Identity => x,
        Activation::Gelu => x * normal_cdf(x),
        Activation::GeluClipped => (x * normal_cdf(x)).clamp(-10.0, 10.0),
        Activation::GeluTanh => {
            // (1 + tanh u)/2 = sigmoid(2u); the left side cancels even in f64.
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * sigmoid(2.0 * u)
        }
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Relu => x.max(0.0),
        Activation::ReluSquared => x.max(0.0).powi(2),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu(slope) => {
            if x < 0.0 {
                f64::from(slope) * x
            } else {
                x
            }
        }
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x * sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Laplace => 0.5 * (1.0 + erf((x - 0.707107) / (0.282095 * std::f64::consts::SQRT_2))),
        Activation::SqrtSoftplus => softplus(x).sqrt(),
        Activation::Xielu { positive, negative, beta, eps } => {
            let [positive, negative, beta, eps] = [positive, negative, beta, eps].map(f64::from);
            if x > 0.0 { positive * x * x + beta * x } else { (x.min(eps).exp_m1() - x) * negative + beta * x }
        }
    }
}
