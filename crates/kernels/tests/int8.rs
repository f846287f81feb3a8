//! int8: whole numbers exactly, the rest against f64 of the quantized numbers, and the same promises as f32.

mod common;

use bert_layers_kernels::{Activation, Converted, Epilogue, Kernels, PackedInt8, QuantizedRows, Solo, Team};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

fn pack(kernels: Kernels, weight: &[f32], out: usize, inp: usize, outliers: &[usize]) -> PackedInt8 {
    PackedInt8::pack_side_by_side(kernels, &[(weight, out)], inp, outliers).expect("memory")
}

fn quantize(kernels: Kernels, x: &[f32], w: &PackedInt8) -> QuantizedRows {
    let mut rows = QuantizedRows::default();
    rows.prepare(w, x.len() / w.inputs()).expect("memory");
    kernels.convert(&Solo, x, w.inputs(), Converted::Int8(w, &mut rows));
    rows
}

fn run(kernels: Kernels, team: &dyn Team, x: &QuantizedRows, w: &PackedInt8, epilogue: Epilogue) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() * w.outputs()];
    kernels.linear_int8(team, x.rows(0..x.len()), w, epilogue, &mut out[..]);
    out
}

/// Whole numbers within ±127; the first of each row of `width` is 127, so that the scale is 1.
fn whole_weights(seed: u64, rows: usize, width: usize) -> Vec<f32> {
    let mut x: Vec<f32> = noise(seed, rows * width).iter().map(|x| (x * 63.5).round()).collect();
    x.iter_mut().step_by(width).for_each(|x| *x = 127.0);
    x
}

/// Whole numbers that go from some number at most 0 to 254 above it, another one in each row, so that the scale is 1.
fn whole_inputs(seed: u64, rows: usize, width: usize) -> Vec<f32> {
    let mut x = noise(seed, rows * width);
    for (r, row) in x.chunks_mut(width).enumerate() {
        let low = if width == 1 { 0.0 } else { -((r * 37 % 255) as f32) };
        row.iter_mut().for_each(|x| *x = ((*x + 2.0) * 63.5).round() + low);
        row[width - 1] = low;
        row[0] = low + 254.0;
    }
    x
}

#[test]
fn whole_numbers_are_added_up_exactly() {
    for (rows, inp, out) in [(1, 1, 1), (1, 2, 40), (3, 3, 5), (13, 48, 112), (5, 61, 33), (27, 768, 31), (2, 1003, 16)]
    {
        let (x, weight) = (whole_inputs(1, rows, inp), whole_weights(2, out, inp));
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp, &[]);
            let got = run(kernels, &Solo, &quantize(kernels, &x, &w), &w, Epilogue::default());
            let want = common::linear(&x, &weight, None, inp, out);
            assert_close(&got, &want, 0.0, &format!("{} {rows}×{inp}×{out}", kernels.name()));
        }
    }
}

/// Where 16 bits would overflow, and 32 almost do: rows on either side of 0 and on both, and weights of all signs.
#[test]
fn the_largest_products_do_not_saturate() {
    for inp in [1024, i32::MAX as usize / (254 * 127)] {
        let repeat = |pattern: [f32; 4]| (0..inp).map(|k| pattern[k % 4]).collect::<Vec<_>>();
        let x = [
            repeat([254.0; 4]),
            repeat([-254.0; 4]),
            repeat([-127.0, -127.0, 127.0, 127.0]),
            repeat([-127.0, 127.0, -127.0, 127.0]),
            repeat([254.0, 254.0, 0.0, 0.0]),
            repeat([-254.0, 0.0, -254.0, 0.0]),
        ];
        let weight = [
            repeat([127.0; 4]),
            repeat([-127.0; 4]),
            repeat([127.0, 127.0, -127.0, -127.0]),
            repeat([-127.0, 127.0, -127.0, 127.0]),
        ];
        let exact = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| *x as i64 * *w as i64).sum::<i64>();
        let want: Vec<f32> = x.iter().flat_map(|x| weight.iter().map(|w| exact(x, w) as f32)).collect();
        for kernels in all() {
            let w = pack(kernels, &weight.concat(), weight.len(), inp, &[]);
            let got = run(kernels, &Solo, &quantize(kernels, &x.concat(), &w), &w, Epilogue::default());
            assert_eq!(got, want, "{}, {inp} inputs", kernels.name());
        }
    }
}

#[test]
#[should_panic(expected = "too long for int8")]
fn longer_sums_than_32_bits_hold_are_refused() {
    let inp = i32::MAX as usize / (254 * 127) + 1;
    pack(Kernels::portable(), &vec![0.0; inp], 1, inp, &[]);
}

/// What `x` means with the outliers as they are, and each of the others in `steps` of its row.
fn in_steps(x: &[f32], width: usize, outliers: &[usize], steps: impl Fn(f32, f32, f32) -> f64) -> Vec<f64> {
    x.chunks(width)
        .flat_map(|row| {
            let counted = |k: &usize| !outliers.contains(k);
            let low = (0..width).filter(counted).map(|k| row[k]).fold(0.0, f32::min);
            let high = (0..width).filter(counted).map(|k| row[k]).fold(0.0, f32::max);
            let steps = &steps;
            (0..width).map(move |k| match counted(&k) {
                true if low < high => steps(low, high, row[k]),
                true => 0.0,
                false => f64::from(row[k]),
            })
        })
        .collect()
}

/// What inputs mean after quantization.
fn quantized(x: &[f32], width: usize, outliers: &[usize]) -> Vec<f64> {
    in_steps(x, width, outliers, |low, high, x| {
        let half = 0.5 * high - 0.5 * low;
        let steps = 127.0 / half;
        let zero = (-low * steps).round_ties_even();
        f64::from((x * steps).min(254.0 - zero).round_ties_even()) * f64::from(half / 127.0)
    })
}

/// What weights mean after quantization.
fn quantized_weights(x: &[f32], width: usize, outliers: &[usize]) -> Vec<f64> {
    in_steps(x, width, outliers, |low, high, x| {
        let largest = high.max(-low);
        f64::from((x * (127.0 / largest)).round_ties_even()) * f64::from(largest / 127.0)
    })
}

#[test]
fn linear_equals_f64_of_the_quantized_numbers() {
    for (rows, inp, out, outliers) in [
        (1, 1, 1, vec![]),
        (1, 1, 3, vec![0]),
        (2, 60, 60, vec![59]),
        (13, 112, 48, vec![0, 5, 17, 111]),
        (27, 33, 97, vec![1, 2, 3, 4, 5, 6, 7, 32]),
        (2, 3072, 40, vec![7, 1000, 2000]),
        (3, 384, 33, (0..32).map(|o| 12 * o).collect()),
    ] {
        let (mut x, weight, bias) = (noise(1, rows * inp), noise(2, out * inp), noise(3, out));
        x.chunks_mut(inp).for_each(|row| outliers.iter().for_each(|&k| row[k] *= 50.0));
        let (qx, qw) = (quantized(&x, inp, &outliers), quantized_weights(&weight, inp, &outliers));
        let mut want = Vec::new();
        for r in 0..rows {
            for o in 0..out {
                let product: f64 = (0..inp).map(|k| qx[r * inp + k] * qw[o * inp + k]).sum();
                want.push(product + f64::from(bias[o]));
            }
        }
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp, &outliers);
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let got = run(kernels, &Solo, &quantize(kernels, &x, &w), &w, epilogue);
            assert_close(&got, &want, 4e-4, &format!("{} {rows}×{inp}×{out}", kernels.name()));
        }
    }
}

#[test]
fn the_epilogue_is_activation_then_residual() {
    let (rows, inp, out) = (14, 40, 75);
    let (x, weight, bias, residual) = (noise(1, rows * inp), noise(2, out * inp), noise(3, out), noise(4, rows * out));
    for kernels in all() {
        let w = pack(kernels, &weight, out, inp, &[3]);
        let x = quantize(kernels, &x, &w);
        let mut want = run(kernels, &Solo, &x, &w, Epilogue { bias: Some(&bias), ..Epilogue::default() });
        let full = Epilogue {
            bias: Some(&bias),
            activation: Activation::Gelu,
            residual: Some(&residual),
            ..Epilogue::default()
        };
        let got = run(kernels, &Solo, &x, &w, full);
        kernels.activate(&Solo, Activation::Gelu, &mut want);
        want.iter_mut().zip(&residual).for_each(|(w, r)| *w += r);
        let bound = 5e-5 + 2e-5 * 200.0; // of a GELU that may be rough
        assert_close(&got, &want.iter().map(|&w| f64::from(w)).collect::<Vec<_>>(), bound, kernels.name());
    }
}

#[test]
fn zeros_give_the_bias_and_what_is_not_finite_gives_nan() {
    let (inp, out) = (10, 3);
    let weight = noise(1, out * inp);
    for kernels in all() {
        let w = pack(kernels, &weight, out, inp, &[4]);
        let bias = [1.0, 2.0, 3.0];
        let mut x = vec![0.0; 3 * inp];
        (x[inp + 7], x[2 * inp + 1]) = (f32::NAN, f32::INFINITY);
        let got =
            run(kernels, &Solo, &quantize(kernels, &x, &w), &w, Epilogue { bias: Some(&bias), ..Epilogue::default() });
        assert_eq!(got[..3], bias, "{}", kernels.name());
        assert!(got[3..].iter().all(|x| x.is_nan()), "{} {got:?}", kernels.name());
    }
}

#[test]
fn layer_norm_writes_the_same_and_a_copy() {
    for kernels in all() {
        for width in [3, 48, 60, 768] {
            let (x, weight, bias) = (noise(1, 5 * width), noise(2, width), noise(3, width));
            let w = pack(kernels, &noise(4, 7 * width), 7, width, &[1]);
            let (mut plain, mut kept) = (x.clone(), x.clone());
            kernels.layer_norm_in_place(&Solo, &mut plain, &weight, Some(&bias), 1e-5);
            let mut copy = QuantizedRows::default();
            copy.prepare(&w, 5).expect("memory");
            let to = Converted::Int8(&w, &mut copy);
            kernels.layer_norm_converting(&Threads(2), &mut kept, &weight, Some(&bias), 1e-5, to);
            assert_eq!(bits(&kept), bits(&plain), "{}", kernels.name());
            let want = run(kernels, &Solo, &quantize(kernels, &plain, &w), &w, Epilogue::default());
            assert_eq!(bits(&run(kernels, &Solo, &copy, &w, Epilogue::default())), bits(&want), "{}", kernels.name());
            let mut only = QuantizedRows::default();
            only.prepare(&w, 5).expect("memory");
            let to = Converted::Int8(&w, &mut only);
            kernels.layer_norm_converted(&Threads(2), &x, &weight, Some(&bias), 1e-5, to);
            assert_eq!(bits(&run(kernels, &Solo, &only, &w, Epilogue::default())), bits(&want), "{}", kernels.name());
        }
    }
}

/// Whatever the row, only half a step of 254 is lost, all sets lose the same, and 0 stays 0.
#[test]
fn inputs_become_the_nearest_of_255_levels() {
    let width = 301;
    let mut weight = vec![0.0; width * width];
    weight.iter_mut().step_by(width + 1).for_each(|w| *w = 1.0);
    let most = 1e-3 * f32::MAX; // times 127, for the weight, before the scale of the weight
    let ranges = [(-0.17, 20.0), (-2.0, 2.0), (-30.0, 0.4), (0.0, 3.0), (-5.0, 0.0), (0.5, 1.0), (-2e-25, 1e-25)];
    for (low, high) in ranges.into_iter().chain([(-most, most), (-0.5 * most, 0.1 * most)]) {
        let mut x: Vec<f32> = noise(5, width).iter().map(|x| low + (x + 2.0) * 0.25 * (high - low)).collect();
        (x[7], x[50], x[299]) = (low, high, 0.0);
        let (lowest, highest) = x.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
        let step = (f64::from(highest) - f64::from(lowest)) / 254.0;
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let mut first = None;
        for kernels in all() {
            let w = pack(kernels, &weight, width, width, &[]);
            let got = run(kernels, &Solo, &quantize(kernels, &x, &w), &w, Epilogue::default());
            assert_close(&got, &exact, 0.50002 * step, &format!("{} {low} to {high}", kernels.name()));
            assert_eq!(got[299], 0.0);
            let first = first.get_or_insert_with(|| bits(&got));
            assert_eq!(&bits(&got), first, "{}", kernels.name());
        }
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// Without bias and channels kept in f32, nothing is rounded differently anywhere.
    #[test]
    fn all_sets_give_the_bits_of_the_portable_one(
        rows in 1usize..15, inp in 1usize..200, out in 1usize..80, middle in -4f32..4.0, seed: u64,
    ) {
        let weight = noise(!seed, out * inp);
        let x: Vec<f32> = noise(seed, rows * inp).iter().map(|x| x + middle).collect();
        let results = all().into_iter().map(|kernels| {
            let w = pack(kernels, &weight, out, inp, &[]);
            bits(&run(kernels, &Solo, &quantize(kernels, &x, &w), &w, Epilogue::default()))
        });
        let results: Vec<_> = results.collect();
        prop_assert!(results.iter().all(|result| result == &results[0]));
    }

    /// A row or a column alone gives the bits that it gives among others, on any number of threads.
    #[test]
    fn a_row_gives_the_same_bits_whatever_surrounds_it(
        (rows, inp) in prop_oneof![
            (1usize..60, prop_oneof![2usize..90, 3000usize..3100]),
            (96usize..450, 2usize..90), // rows of a thread's own
        ],
        out in 1usize..120,
        threads in 1usize..9, seed: u64,
    ) {
        let (x, weight) = (noise(seed, rows * inp), noise(!seed, out * inp));
        let (bias, residual) = (noise(seed ^ 7, out), noise(seed ^ 8, rows * out));
        let outliers = [seed as usize % (inp - 1), inp - 1];
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp, &outliers);
            let epilogue = |residual| Epilogue { bias: Some(&bias), activation: Activation::Gelu, residual: Some(residual), ..Epilogue::default() };
            let q = quantize(kernels, &x, &w);
            let solo = run(kernels, &Solo, &q, &w, epilogue(&residual));
            let many = run(kernels, &Threads(threads), &q, &w, epilogue(&residual));
            prop_assert_eq!(bits(&solo), bits(&many));
            let o = out / 2;
            let narrow = pack(kernels, &weight[o * inp..][..inp], 1, inp, &outliers);
            let all = run(kernels, &Solo, &q, &w, Epilogue::default());
            let column = run(kernels, &Solo, &q, &narrow, Epilogue::default());
            for r in [0, rows / 2, rows - 1] {
                let q = quantize(kernels, &x[r * inp..][..inp], &w);
                let alone = run(kernels, &Solo, &q, &w, epilogue(&residual[r * out..][..out]));
                prop_assert_eq!(bits(&alone), bits(&solo[r * out..][..out]));
                prop_assert_eq!(column[r].to_bits(), all[r * out + o].to_bits());
            }
        }
    }

    /// The fused call gives the bits of the two.
    #[test]
    fn results_quantized_at_once_are_results_quantized_afterwards(
        rows in 1usize..150, inp in 2usize..40, inner in prop_oneof![2usize..90, 3000usize..3100],
        threads in 1usize..5, seed: u64,
    ) {
        let (x, weight, bias) = (noise(seed, rows * inp), noise(!seed, inner * inp), noise(seed ^ 1, inner));
        let next = noise(seed ^ 2, 3 * inner);
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Gelu, residual: None, ..Epilogue::default() };
        for kernels in all() {
            let w = pack(kernels, &weight, inner, inp, &[1]);
            let next = pack(kernels, &next, 3, inner, &[0, inner - 1]);
            let q = quantize(kernels, &x, &w);
            let apart = quantize(kernels, &run(kernels, &Solo, &q, &w, epilogue), &next);
            let want = run(kernels, &Solo, &apart, &next, Epilogue::default());
            let mut fused = QuantizedRows::default();
            fused.prepare(&next, rows).expect("memory");
            kernels.linear_int8_quantized(&Threads(threads), q.rows(0..rows), &w, epilogue, &next, &mut fused);
            prop_assert_eq!(bits(&run(kernels, &Solo, &fused, &next, Epilogue::default())), bits(&want));
            kernels.linear_int8_quantized(&Solo, q.rows(0..rows), &w, epilogue, &next, &mut fused);
            prop_assert_eq!(bits(&run(kernels, &Solo, &fused, &next, Epilogue::default())), bits(&want));
        }
    }
}
