//! bf16 against f64 of the rounded numbers, and the same promises as f32.

#![allow(clippy::single_range_in_vec_init)] // one text

mod common;

use bert_layers_kernels::{Activation, Bf16, Converted, Epilogue, Heads, Kernels, PackedBf16, Solo, Team};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

fn rounded(x: &[f32]) -> Vec<Bf16> {
    x.iter().copied().map(Bf16::from_f32).collect()
}

fn widened(x: &[Bf16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

fn run(kernels: Kernels, team: &dyn Team, x: &[Bf16], w: &PackedBf16, epilogue: Epilogue) -> Vec<f32> {
    let rows = x.len() / w.inputs();
    let mut out = vec![f32::NAN; rows * w.outputs()];
    kernels.linear_bf16(team, x, w, epilogue, &mut out[..]);
    // Rounded results are the results, rounded.
    let mut narrow = vec![Bf16::default(); out.len()];
    kernels.linear_bf16(team, x, w, epilogue, &mut narrow[..]);
    assert_eq!(narrow, rounded(&out), "{}", kernels.name());
    out
}

fn pack(kernels: Kernels, weight: &[f32], out: usize, inp: usize) -> PackedBf16 {
    PackedBf16::pack_by(&Threads(2), kernels, &[(weight, out)], inp).expect("memory")
}

#[test]
fn numbers_are_rounded_to_nearest_even() {
    for (x, bits) in [
        (1.0, 0x3f80),
        (-2.5, 0xc020),
        (1.0 + 1.0 / 256.0, 0x3f80), // a tie, to even
        (1.0 + 3.0 / 256.0, 0x3f82), // a tie, to even
        (1.0 + 1.1 / 256.0, 0x3f81),
        (f32::MAX, 0x7f80),
        (f32::NEG_INFINITY, 0xff80),
        (-1e-39, 0x8000),
        (0.0, 0),
    ] {
        assert_eq!(Bf16::from_f32(x).to_bits(), bits, "{x}");
    }
    assert!(Bf16::from_f32(f32::NAN).to_f32().is_nan());
    assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
}

#[test]
fn every_set_converts_to_the_same_bits() {
    let mut x: Vec<f32> = (0..10_000u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))).collect();
    x.retain(|x| !x.is_nan());
    x.extend([0.0, -0.0, f32::INFINITY, 1e-39, -1e-39, f32::MIN_POSITIVE]);
    for kernels in all() {
        let mut got = vec![Bf16::default(); x.len()];
        kernels.convert(&Threads(2), &x, 1, Converted::Bf16(&mut got));
        assert_eq!(got, rounded(&x), "{}", kernels.name());
        kernels.convert(&Solo, &x, x.len(), Converted::Bf16(&mut got));
        assert_eq!(got, rounded(&x), "{}", kernels.name());
    }
}

/// The products of bf16 are exact in f32, so only the sums are rounded, as in f32.
#[test]
fn linear_equals_f64_of_the_rounded_numbers() {
    for (rows, inp, out) in [
        (1, 1, 1),
        (1, 48, 112),
        (2, 60, 60),
        (13, 112, 48),
        (5, 313, 31),
        (27, 33, 97),
        (3, 2100, 70),
        (2, 3100, 40),
        (150, 20, 33),
    ] {
        let (x, weight, bias) = (rounded(&noise(1, rows * inp)), noise(2, out * inp), noise(3, out));
        let want = common::linear(&widened(&x), &widened(&rounded(&weight)), Some(&bias), inp, out);
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp);
            let got = run(kernels, &Solo, &x, &w, Epilogue { bias: Some(&bias), ..Epilogue::default() });
            let bound = (inp as f64).sqrt() * 4.0 * 1e-6;
            assert_close(&got, &want, bound, &format!("{} {rows}×{inp}×{out}", kernels.name()));
        }
    }
}

/// What attention adds to the numbers' own rounding is that of the weights, each by at most 2⁻⁹ of itself.
#[test]
fn attention_equals_f64_of_the_rounded_numbers() {
    for (heads, lens) in [
        (Heads { count: 1, dim: 1, scale: 1.0 }, vec![1, 2]),
        (Heads { count: 3, dim: 20, scale: 0.2 }, vec![1, 7, 33, 12]),
        (Heads { count: 3, dim: 13, scale: 0.2 }, vec![40]),
        (Heads { count: 2, dim: 64, scale: 0.125 }, vec![16, 131]),
    ] {
        let rows: usize = lens.iter().sum();
        let mut start = 0;
        let texts: Vec<_> = lens
            .into_iter()
            .map(|len| {
                start += len;
                start - len..start
            })
            .collect();
        let qkv = rounded(&noise(9, rows * 3 * heads.hidden()));
        let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 3).collect();
        for mask in [None, Some(mask.as_slice())] {
            let want = common::attention(&widened(&qkv), &texts, mask, heads);
            for kernels in all() {
                let mut got = vec![f32::NAN; rows * heads.hidden()];
                kernels.attention_bf16(&Solo, &qkv, &texts, mask, heads, &mut got[..]);
                assert_close(&got, &want, 2.0 / 512.0, &format!("{} {heads:?}", kernels.name()));
                let mut narrow = vec![Bf16::default(); got.len()];
                kernels.attention_bf16(&Threads(3), &qkv, &texts, mask, heads, &mut narrow[..]);
                assert_eq!(narrow, rounded(&got), "{}", kernels.name());
            }
        }
    }
}

/// The bound that `Activation` states, of a matrix that hands its input through.
#[test]
fn gelu_after_bf16_is_rough_within_its_bound() {
    let x: Vec<Bf16> = rounded(&(-4000..4000).map(|i| i as f32 / 400.0).collect::<Vec<_>>());
    for kernels in all() {
        let w = pack(kernels, &[1.0], 1, 1);
        let got = run(kernels, &Solo, &x, &w, Epilogue { activation: Activation::Gelu, ..Epilogue::default() });
        for (x, y) in widened(&x).into_iter().zip(got) {
            let error = (f64::from(y) - common::activation(Activation::Gelu, f64::from(x))).abs();
            assert!(error <= 5e-5 + 2e-5 * f64::from(x).abs(), "{} gelu({x}) = {y}: {error:e}", kernels.name());
        }
    }
}

#[test]
fn layer_norm_writes_the_same_and_a_copy() {
    for kernels in all() {
        for width in [1, 3, 48, 60, 768] {
            let (x, weight, bias) = (noise(1, 5 * width), noise(2, width), noise(3, width));
            let (mut plain, mut kept) = (x.clone(), x.clone());
            let mut copy = vec![Bf16::default(); x.len()];
            kernels.layer_norm_in_place(&Solo, &mut plain, &weight, Some(&bias), 1e-5);
            let to = Converted::Bf16(&mut copy);
            kernels.layer_norm_converting(&Threads(2), &mut kept, &weight, Some(&bias), 1e-5, to);
            assert_eq!(bits(&kept), bits(&plain), "{}", kernels.name());
            assert_eq!(copy, rounded(&plain), "{}", kernels.name());
            let mut only = vec![Bf16::default(); x.len()];
            kernels.layer_norm_converted(&Threads(2), &x, &weight, Some(&bias), 1e-5, Converted::Bf16(&mut only));
            assert_eq!(only, copy, "{}", kernels.name());
        }
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// A row or a column alone gives the bits that it gives among others, on any number of threads, even beside NaN.
    #[test]
    fn a_row_gives_the_same_bits_whatever_surrounds_it(
        (rows, inp) in prop_oneof![
            (2usize..60, prop_oneof![1usize..90, 3000usize..3100]),
            (96usize..450, 1usize..90), // rows of a thread's own
        ],
        out in 1usize..120,
        threads in 1usize..9, seed: u64,
    ) {
        let (mut x, weight) = (rounded(&noise(seed, rows * inp)), noise(!seed, out * inp));
        x[(rows - 1) * inp..].fill(Bf16::from_f32(f32::NAN));
        let (bias, residual) = (noise(seed ^ 7, out), noise(seed ^ 8, rows * out));
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp);
            let epilogue = |residual| Epilogue { bias: Some(&bias), activation: Activation::Gelu, residual: Some(residual), ..Epilogue::default() };
            let mut solo = vec![f32::NAN; rows * out];
            kernels.linear_bf16(&Solo, &x, &w, epilogue(&residual), &mut solo[..]);
            let mut many = vec![f32::NAN; rows * out];
            kernels.linear_bf16(&Threads(threads), &x, &w, epilogue(&residual), &mut many[..]);
            prop_assert_eq!(bits(&solo[..(rows - 1) * out]), bits(&many[..(rows - 1) * out]));
            let (mut all, mut column) = (vec![f32::NAN; rows * out], vec![f32::NAN; rows]);
            let o = out / 2;
            kernels.linear_bf16(&Solo, &x, &w, Epilogue::default(), &mut all[..]);
            kernels.linear_bf16(&Solo, &x, &pack(kernels, &weight[o * inp..][..inp], 1, inp), Epilogue::default(), &mut column[..]);
            for r in [0, rows / 2, rows - 2] {
                let mut alone = vec![f32::NAN; out];
                kernels.linear_bf16(&Solo, &x[r * inp..][..inp], &w, epilogue(&residual[r * out..][..out]), &mut alone[..]);
                if r < rows - 1 {
                    prop_assert!(alone.iter().all(|x| x.is_finite()));
                    prop_assert_eq!(bits(&alone), bits(&solo[r * out..][..out]));
                    prop_assert_eq!(column[r].to_bits(), all[r * out + o].to_bits());
                }
            }
        }
    }

    #[test]
    fn a_text_gives_the_same_bits_whatever_surrounds_it(
        lens in prop::collection::vec(0usize..120, 1..4), dim in 1usize..70, threads in 1usize..9, seed: u64,
    ) {
        let heads = Heads { count: 2, dim, scale: 0.2 };
        let (width, hidden) = (3 * heads.hidden(), heads.hidden());
        let rows: usize = lens.iter().sum();
        let qkv = rounded(&noise(seed, rows * width));
        let mut start = 0;
        let texts: Vec<_> = lens.iter().map(|len| { start += len; start - len..start }).collect();
        for kernels in all() {
            let (mut solo, mut many) = (vec![f32::NAN; rows * hidden], vec![f32::NAN; rows * hidden]);
            kernels.attention_bf16(&Solo, &qkv, &texts, None, heads, &mut solo[..]);
            kernels.attention_bf16(&Threads(threads), &qkv, &texts, None, heads, &mut many[..]);
            prop_assert_eq!(bits(&solo), bits(&many));
            for text in &texts {
                let mut alone = vec![f32::NAN; text.len() * hidden];
                let own = &qkv[text.start * width..text.end * width];
                kernels.attention_bf16(&Solo, own, &[0..text.len()], None, heads, &mut alone[..]);
                prop_assert_eq!(bits(&alone), bits(&solo[text.start * hidden..text.end * hidden]));
            }
        }
    }
}
