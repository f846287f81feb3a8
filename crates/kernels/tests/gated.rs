//! Gated linear units: bit for bit the product of two linear layers, one of them activated, in each precision.

mod common;

use bert_layers_kernels::{
    Activation, Bf16, Converted, Epilogue, Kernels, PackedBf16, PackedInt8, PackedMatrix, QuantizedRows, Solo, Team,
};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

/// Rows, inputs, outputs.
const SIZES: [(usize, usize, usize); 8] =
    [(1, 1, 1), (1, 48, 112), (2, 60, 136), (13, 112, 48), (5, 312, 31), (27, 33, 97), (3, 2100, 70), (150, 20, 33)];

struct Layer {
    gate: Vec<f32>,
    up: Vec<f32>,
    /// Of both.
    bias: Vec<f32>,
    out: usize,
}

impl Layer {
    fn new(inp: usize, out: usize) -> Self {
        Layer { gate: noise(2, out * inp), up: noise(3, out * inp), bias: noise(4, 2 * out), out }
    }

    /// The product of what two layers give.
    fn product(
        &self,
        kernels: Kernels,
        activation: Activation,
        linear: impl Fn(&[f32], &[f32]) -> Vec<f32>,
    ) -> Vec<f32> {
        let mut result = linear(&self.gate, &self.bias[..self.out]);
        kernels.activate(&Solo, activation, &mut result);
        result.iter_mut().zip(linear(&self.up, &self.bias[self.out..])).for_each(|(gate, up)| *gate *= up);
        result
    }
}

fn epilogue(bias: &[f32], activation: Activation) -> Epilogue<'_> {
    Epilogue { bias: Some(bias), activation, residual: None, upcoming: None }
}

fn low(x: &[f32]) -> Vec<Bf16> {
    x.iter().map(|&x| Bf16::from_f32(x)).collect()
}

fn quantize(kernels: Kernels, x: &[f32], w: &PackedInt8) -> QuantizedRows {
    let mut rows = QuantizedRows::default();
    rows.prepare(w, x.len() / w.inputs()).expect("memory");
    kernels.convert(&Solo, x, w.inputs(), Converted::Int8(w, &mut rows));
    rows
}

#[test]
fn equal_two_linear_layers() {
    for (rows, inp, out) in SIZES {
        let (x, layer) = (noise(1, rows * inp), Layer::new(inp, out));
        let Layer { gate, up, bias, .. } = &layer;
        let outliers: Vec<usize> = (0..inp / 8).map(|o| 8 * o + 3).collect();
        for kernels in all() {
            let what = format!("{} {rows}×{inp}×{out}", kernels.name());
            for activation in [Activation::Silu, Activation::Identity, Activation::Relu] {
                let w = PackedMatrix::pack_gated(&Solo, kernels, gate, up, inp).expect("memory");
                assert_eq!((w.inputs(), w.outputs()), (inp, out));
                let mut got = vec![f32::NAN; rows * out];
                kernels.linear(&Solo, &x, &w, epilogue(bias, activation), &mut got);
                let by_many = PackedMatrix::pack_gated(&Threads(3), kernels, gate, up, inp).expect("memory");
                let mut again = vec![f32::NAN; rows * out];
                kernels.linear(&Solo, &x, &by_many, epilogue(bias, activation), &mut again);
                assert_eq!(bits(&again), bits(&got), "{what}");
                let want = layer.product(kernels, activation, |weight, bias| {
                    let w = PackedMatrix::pack(kernels, weight, out, inp).expect("memory");
                    let mut result = vec![f32::NAN; rows * out];
                    kernels.linear(&Solo, &x, &w, epilogue(bias, Activation::Identity), &mut result);
                    result
                });
                assert_eq!(bits(&got), bits(&want), "{what}");

                let w = PackedBf16::pack_gated(&Solo, kernels, gate, up, inp).expect("memory");
                kernels.linear_bf16(&Solo, &low(&x), &w, epilogue(bias, activation), &mut got[..]);
                let want = layer.product(kernels, activation, |weight, bias| {
                    let w = PackedBf16::pack_side_by_side(kernels, &[(weight, out)], inp).expect("memory");
                    let mut result = vec![f32::NAN; rows * out];
                    kernels.linear_bf16(&Solo, &low(&x), &w, epilogue(bias, Activation::Identity), &mut result[..]);
                    result
                });
                assert_eq!(bits(&got), bits(&want), "bf16 {what}");
                let mut rounded = vec![Bf16::default(); rows * out];
                kernels.linear_bf16(&Solo, &low(&x), &w, epilogue(bias, activation), &mut rounded[..]);
                assert_eq!(rounded, low(&want), "to bf16 {what}");

                let w = PackedInt8::pack_gated(kernels, gate, up, inp, &outliers).expect("memory");
                let x8 = quantize(kernels, &x, &w);
                kernels.linear_int8(&Solo, x8.rows(0..rows), &w, epilogue(bias, activation), &mut got[..]);
                let want = layer.product(kernels, activation, |weight, bias| {
                    let w = PackedInt8::pack_side_by_side(kernels, &[(weight, out)], inp, &outliers).expect("memory");
                    let mut result = vec![f32::NAN; rows * out];
                    let epilogue = epilogue(bias, Activation::Identity);
                    kernels.linear_int8(&Solo, quantize(kernels, &x, &w).rows(0..rows), &w, epilogue, &mut result[..]);
                    result
                });
                assert_eq!(bits(&got), bits(&want), "int8 {what}");
            }
        }
    }
}

/// The product in f64, with GELU, a residual, and without a bias.
#[test]
fn equal_f64() {
    let (rows, inp, out) = (30, 100, 57);
    let (x, layer, residual) = (noise(1, rows * inp), Layer::new(inp, out), noise(5, rows * out));
    let scaled = |weight: &[f32]| weight.iter().map(|w| w * 0.1).collect::<Vec<f32>>();
    let (gate, up) = (scaled(&layer.gate), scaled(&layer.up));
    let (g, u) = (common::linear(&x, &gate, None, inp, out), common::linear(&x, &up, None, inp, out));
    let product = |activation| g.iter().zip(&u).map(move |(&g, &u)| common::activation(activation, g) * u);
    for kernels in all() {
        let w = PackedMatrix::pack_gated(&Solo, kernels, &gate, &up, inp).expect("memory");
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Tanh, Activation::Mish] {
            let want: Vec<f64> = product(activation).zip(&residual).map(|(y, &r)| y + f64::from(r)).collect();
            let mut got = vec![f32::NAN; rows * out];
            let epilogue = Epilogue { bias: None, activation, residual: Some(&residual), upcoming: None };
            kernels.linear(&Solo, &x, &w, epilogue, &mut got);
            assert_close(&got, &want, 2e-5, &format!("{} {activation:?}", kernels.name()));
        }
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// A row alone gives the bits that it gives among others, however the work is cut; and the results may become int8 on the way.
    #[test]
    fn nothing_but_the_row_matters(
        rows in 1usize..200, inp in 1usize..90, out in 1usize..90, threads in 1usize..9, picked: prop::sample::Index, seed: u64,
    ) {
        let (x, layer) = (noise(seed, rows * inp), Layer::new(inp, out));
        let row = picked.index(rows);
        let epilogue = epilogue(&layer.bias, Activation::Gelu);
        for kernels in all() {
            let w = PackedMatrix::pack_gated(&Solo, kernels, &layer.gate, &layer.up, inp).expect("memory");
            let f32s = |team: &dyn Team, x: &[f32]| {
                let mut result = vec![f32::NAN; x.len() / inp * out];
                kernels.linear(team, x, &w, epilogue, &mut result);
                bits(&result)
            };
            let together = f32s(&Threads(threads), &x);
            prop_assert_eq!(&f32s(&Solo, &x[row * inp..(row + 1) * inp]), &together[row * out..(row + 1) * out]);

            let w = PackedInt8::pack_gated(kernels, &layer.gate, &layer.up, inp, &[]).expect("memory");
            let x8 = quantize(kernels, &x, &w);
            let int8s = |team: &dyn Team, rows: std::ops::Range<usize>| {
                let mut result = vec![f32::NAN; rows.len() * out];
                kernels.linear_int8(team, x8.rows(rows), &w, epilogue, &mut result[..]);
                result
            };
            let together = int8s(&Threads(threads), 0..rows);
            prop_assert_eq!(bits(&int8s(&Solo, row..row + 1)), bits(&together[row * out..(row + 1) * out]));

            let next = PackedInt8::pack_side_by_side(kernels, &[(&noise(9, out * 5), 5)], out, &[]).expect("memory");
            let mut direct = QuantizedRows::default();
            direct.prepare(&next, rows).expect("memory");
            kernels.linear_int8_quantized(&Threads(threads), x8.rows(0..rows), &w, epilogue, &next, &mut direct);
            let result = |x8: &QuantizedRows| {
                let mut result = vec![f32::NAN; rows * 5];
                kernels.linear_int8(&Solo, x8.rows(0..rows), &next, Epilogue::default(), &mut result[..]);
                bits(&result)
            };
            prop_assert_eq!(result(&direct), result(&quantize(kernels, &together, &next)));
        }
    }
}
