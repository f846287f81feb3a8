//! Layer norm, embedding and activations.

mod common;

use bert_layers_kernels::{Activation, Bf16, Kernels, Lookup, Solo, Table, try_zeroed};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

#[test]
fn layer_norm_equals_f64() {
    for kernels in all() {
        for width in [1, 3, 16, 48, 60, 112, 312, 768, 1000] {
            let x: Vec<f32> = noise(1, 4 * width).iter().map(|x| x * 3.0 + 5.0).collect();
            let (weight, bias) = (noise(2, width), noise(3, width));
            for bias in [None, Some(bias.as_slice())] {
                let mut got = vec![f32::NAN; x.len()];
                kernels.layer_norm(&Solo, &x, &weight, bias, 1e-12, &mut got);
                let want = common::layer_norm(&x, &weight, bias, 1e-12);
                // A row of one number has no variance: what is left is rounding, magnified by 1/√eps.
                let bound = if width == 1 { 1.0 } else { 4e-6 };
                assert_close(&got, &want, bound, &format!("{} {width}", kernels.name()));
                let mut in_place = x.clone();
                kernels.layer_norm_in_place(&Solo, &mut in_place, &weight, bias, 1e-12);
                assert_eq!(bits(&in_place), bits(&got), "{} {width}", kernels.name());
            }
        }
    }
}

#[test]
fn embed_adds_rows_in_order() {
    let width = 19;
    let (words, places, types) = (noise(1, 30 * width), noise(2, 8 * width), noise(3, 2 * width));
    let rows: [&[u32]; 3] = [&[29, 0, 7, 7], &[0, 1, 2, 3], &[0, 0, 1, 1]];
    for kernels in all() {
        let mut got = vec![f32::NAN; 4 * width];
        let rounded: Vec<Bf16> = places.iter().map(|&x| Bf16::from_f32(x)).collect();
        let lookups = [
            Lookup { table: Table::F32(&words), rows: rows[0] },
            Lookup { table: Table::Bf16(&rounded), rows: rows[1] },
            Lookup { table: Table::F32(&types), rows: rows[2] },
        ];
        kernels.embed(&Threads(3), &lookups, width, &mut got);
        for t in 0..4 {
            for i in 0..width {
                let [a, b, c] = rows.map(|rows| rows[t] as usize * width + i);
                assert_eq!(got[t * width + i], words[a] + rounded[b].to_f32() + types[c], "{}", kernels.name());
            }
        }
    }
}

const USUAL: [Activation; 5] =
    [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu, Activation::Tanh];

const RARE: [Activation; 12] = [
    Activation::Identity,
    Activation::GeluClipped,
    Activation::QuickGelu,
    Activation::ReluSquared,
    Activation::Relu6,
    Activation::LeakyRelu(0.01),
    Activation::Sigmoid,
    Activation::Mish,
    Activation::HardSwish,
    Activation::Laplace,
    Activation::SqrtSoftplus,
    Activation::Xielu { positive: 0.8, negative: 0.81, beta: 0.5, eps: -1e-6 },
];

fn activated(kernels: Kernels, activation: Activation, x: &[f32]) -> Vec<f32> {
    let mut y = x.to_vec();
    kernels.activate(&Solo, activation, &mut y);
    y
}

/// The bounds that `Activation` states.
#[test]
fn activations_keep_their_bounds() {
    let x: Vec<f32> = (-30_000..=30_000).map(|i| i as f32 * 1e-3 + 1e-4).collect();
    for kernels in all() {
        for activation in USUAL.into_iter().chain(RARE) {
            for (&x, y) in x.iter().zip(activated(kernels, activation, &x)) {
                let want = common::activation(activation, f64::from(x));
                let size = f64::from(x).abs().max(1.0);
                let bound = if USUAL.contains(&activation) { 1.5e-7 * size } else { 2e-7 * size.max(want.abs()) };
                let error = (f64::from(y) - want).abs();
                assert!(error <= bound, "{} {activation:?}({x}) = {y}, not {want}: {error:e}", kernels.name());
            }
        }
    }
}

/// GELU keeps its relative accuracy where the result is small: no 1 − 1.
#[test]
fn gelu_does_not_cancel() {
    let x: Vec<f32> = (1..4000).map(|i| i as f32 * -1e-3).collect();
    for kernels in all() {
        for (&x, y) in x.iter().zip(activated(kernels, Activation::Gelu, &x)) {
            let want = common::activation(Activation::Gelu, f64::from(x));
            let error = (f64::from(y) / want - 1.0).abs();
            assert!(error < 5e-5, "{} gelu({x}) = {y}, not {want}", kernels.name());
        }
    }
}

#[test]
fn activations_survive_extremes() {
    for kernels in all() {
        for activation in USUAL.into_iter().chain(RARE) {
            let name = format!("{} {activation:?}", kernels.name());
            let x = [0.0, -0.0, 1e-40, -1e-40, 1e-20, -1e-20, 88.0, -88.0, 1e4, -1e4, 1e18, -1e18, 3e38, -3e38];
            for (&x, y) in x.iter().zip(activated(kernels, activation, &x)) {
                let want = common::activation(activation, f64::from(x));
                if want.abs() > f64::from(f32::MAX) {
                    assert!(y.is_infinite(), "{name}({x}) = {y}");
                } else {
                    let error = (f64::from(y) - want).abs();
                    assert!(error <= 3e-7 * want.abs().max(1.0), "{name}({x}) = {y}, not {want}");
                }
            }
            let [nan, infinite] = activated(kernels, activation, &[f32::NAN, f32::INFINITY])[..] else {
                unreachable!()
            };
            assert!(nan.is_nan(), "{name}(NaN) = {nan}");
            assert_eq!(f64::from(infinite), common::activation(activation, f64::INFINITY), "{name}(∞)");
        }
    }
}

#[test]
fn buffers_have_no_slack_and_fail_politely() {
    let buffer = try_zeroed(1000).expect("memory");
    assert_eq!((buffer.len(), buffer.capacity()), (1000, 1000));
    assert!(buffer.iter().all(|&x| x == 0.0));
    assert_eq!(try_zeroed(0).expect("nothing").len(), 0);
    // A compiler may leave out memory that nobody looks at.
    let too_much = try_zeroed(usize::MAX / 8).map(|memory| std::hint::black_box(memory).len());
    assert_eq!(too_much.map_err(|e| e.bytes), Err(usize::MAX / 8 * 4));
    assert_eq!(try_zeroed(usize::MAX).map(|_| ()).map_err(|e| e.bytes), Err(usize::MAX));
}

proptest! {
    #![proptest_config(common::few_cases())]

    #[test]
    fn rows_are_independent_of_neighbours_and_threads(rows in 1usize..70, width in 1usize..90, threads in 1usize..9, seed: u64) {
        let (x, weight, bias) = (noise(seed, rows * width), noise(1, width), noise(2, width));
        for kernels in all() {
            let (mut solo, mut many) = (x.clone(), x.clone());
            kernels.layer_norm_in_place(&Solo, &mut solo, &weight, Some(&bias), 1e-5);
            kernels.layer_norm_in_place(&Threads(threads), &mut many, &weight, Some(&bias), 1e-5);
            prop_assert_eq!(bits(&solo), bits(&many));
            let r = rows / 2;
            let mut alone = x[r * width..][..width].to_vec();
            kernels.layer_norm_in_place(&Solo, &mut alone, &weight, Some(&bias), 1e-5);
            prop_assert_eq!(bits(&alone), bits(&solo[r * width..][..width]));
        }
    }
}
