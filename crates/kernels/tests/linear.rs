//! The linear layer against f64, and its promise that nothing but the row itself matters.

mod common;

use bert_layers_kernels::{Activation, Epilogue, Kernels, PackedMatrix, Solo, Strided, Team, stride_of};
use common::{Threads, all, assert_close, bits, noise};
use proptest::prelude::*;

fn run(kernels: Kernels, team: &dyn Team, x: &[f32], w: &PackedMatrix, epilogue: Epilogue) -> Vec<f32> {
    let rows = x.len() / w.inputs();
    let mut out = vec![f32::NAN; rows * w.outputs()];
    kernels.linear(team, x, w, epilogue, &mut out);
    out
}

fn pack(kernels: Kernels, weight: &[f32], out: usize, inp: usize) -> PackedMatrix {
    PackedMatrix::pack(kernels, weight, out, inp).expect("memory")
}

/// Rounding of a sum of `inp` products of numbers below 2, with a margin.
fn bound(inp: usize) -> f64 {
    (inp as f64).sqrt() * 4.0 * 1e-6
}

#[test]
fn equals_f64_for_sizes_that_are_multiples_of_nothing() {
    for kernels in all() {
        for (rows, inp, out) in [
            (1, 1, 1),
            (1, 48, 112),
            (2, 60, 60),
            (13, 112, 48),
            (5, 312, 31),
            (27, 33, 97),
            (3, 2100, 70),
            (150, 20, 33),
        ] {
            let (x, weight, bias) = (noise(1, rows * inp), noise(2, out * inp), noise(3, out));
            let w = pack(kernels, &weight, out, inp);
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let got = run(kernels, &Solo, &x, &w, epilogue);
            let want = common::linear(&x, &weight, Some(&bias), inp, out);
            assert_close(&got, &want, bound(inp), &format!("{} {rows}×{inp}×{out}", kernels.name()));
        }
    }
}

#[test]
fn the_epilogue_is_activation_then_residual() {
    let (rows, inp, out) = (14, 40, 75);
    let (x, weight, bias, residual) = (noise(1, rows * inp), noise(2, out * inp), noise(3, out), noise(4, rows * out));
    for kernels in all() {
        let w = pack(kernels, &weight, out, inp);
        let plain = run(kernels, &Solo, &x, &w, Epilogue { bias: Some(&bias), ..Epilogue::default() });
        let full = Epilogue {
            bias: Some(&bias),
            activation: Activation::Gelu,
            residual: Some(&residual),
            ..Epilogue::default()
        };
        let got = run(kernels, &Solo, &x, &w, full);

        let mut want = plain;
        kernels.activate(&Solo, Activation::Gelu, &mut want);
        want.iter_mut().zip(&residual).for_each(|(w, r)| *w += r);
        assert_eq!(bits(&got), bits(&want), "{}", kernels.name());
    }
}

#[test]
fn matrices_side_by_side_give_their_results_side_by_side() {
    let (rows, inp) = (3, 20);
    let outs = [7, 40, 1, 33];
    let x = noise(1, rows * inp);
    let weights: Vec<Vec<f32>> = outs.iter().map(|&out| noise(out as u64, out * inp)).collect();
    for kernels in all() {
        let parts: Vec<(&[f32], usize)> = weights.iter().map(|w| w.as_slice()).zip(outs).collect();
        let together = PackedMatrix::pack_side_by_side(kernels, &parts, inp).expect("memory");
        let got = run(kernels, &Solo, &x, &together, Epilogue::default());
        for threads in [2, 5] {
            let by_many = PackedMatrix::pack_by(&Threads(threads), kernels, &parts, inp).expect("memory");
            assert_eq!(bits(&run(kernels, &Solo, &x, &by_many, Epilogue::default())), bits(&got), "{}", kernels.name());
        }
        let mut first = 0;
        for (weight, out) in parts {
            let alone = run(kernels, &Solo, &x, &pack(kernels, weight, out, inp), Epilogue::default());
            for r in 0..rows {
                let got = &got[r * together.outputs() + first..][..out];
                assert_eq!(bits(got), bits(&alone[r * out..][..out]), "{}", kernels.name());
            }
            first += out;
        }
    }
}

#[test]
fn nothing_in_gives_nothing_or_the_bias() {
    for kernels in all() {
        let w = pack(kernels, &noise(1, 12), 4, 3);
        kernels.linear(&Solo, &[], &w, Epilogue::default(), &mut []);
        let empty = pack(kernels, &[], 4, 0);
        let bias = [1.0, 2.0, 3.0, 4.0];
        let mut out = [f32::NAN; 8];
        kernels.linear(&Solo, &[], &empty, Epilogue { bias: Some(&bias), ..Epilogue::default() }, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0], "{}", kernels.name());
    }
}

proptest! {
    #![proptest_config(common::few_cases())]

    /// The invariant of DESIGN.md: a row alone gives the bits that it gives among others, on any number of threads.
    #[test]
    fn a_row_gives_the_same_bits_whatever_surrounds_it(
        rows in 1usize..60, inp in prop_oneof![1usize..90, 1000usize..1100, Just(1024usize)], out in 1usize..200,
        threads in 1usize..9, seed: u64,
    ) {
        let (x, weight) = (noise(seed, rows * inp), noise(!seed, out * inp));
        let (bias, residual) = (noise(seed ^ 7, out), noise(seed ^ 8, rows * out));
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp);
            let epilogue = |residual| Epilogue { bias: Some(&bias), activation: Activation::Gelu, residual: Some(residual), ..Epilogue::default() };
            let solo = run(kernels, &Solo, &x, &w, epilogue(&residual));
            let many = run(kernels, &Threads(threads), &x, &w, epilogue(&residual));
            prop_assert_eq!(bits(&solo), bits(&many));
            for r in [0, rows / 2, rows - 1] {
                let alone = run(kernels, &Solo, &x[r * inp..][..inp], &w, epilogue(&residual[r * out..][..out]));
                prop_assert_eq!(bits(&alone), bits(&solo[r * out..][..out]));
            }
            // A column alone, too.
            let o = out / 2;
            let column = pack(kernels, &weight[o * inp..][..inp], 1, inp);
            let alone = run(kernels, &Solo, &x, &column, Epilogue::default());
            let all = run(kernels, &Solo, &x, &w, Epilogue::default());
            for r in 0..rows {
                prop_assert_eq!(alone[r].to_bits(), all[r * out + o].to_bits());
            }
        }
    }

    /// Rows that lie apart give the bits of rows that touch, and what is between them stays as it was.
    #[test]
    fn gaps_between_rows_change_nothing(
        rows in 1usize..40, inp in prop_oneof![1usize..90, 1500usize..1600], out in 1usize..200,
        gaps in (0usize..40, 0usize..40), threads in 1usize..5, seed: u64,
    ) {
        let (x, weight, residual) = (noise(seed, rows * inp), noise(!seed, out * inp), noise(seed ^ 8, rows * out));
        let apart = |numbers: &[f32], width: usize, gap: usize| -> Vec<f32> {
            numbers.chunks_exact(width).flat_map(|row| row.iter().copied().chain(vec![f32::NAN; gap])).collect()
        };
        for kernels in all() {
            let w = pack(kernels, &weight, out, inp);
            let epilogue = |residual| Epilogue { activation: Activation::Gelu, residual: Some(residual), ..Epilogue::default() };
            let want = run(kernels, &Solo, &x, &w, epilogue(&residual));
            let (x, residual) = (apart(&x, inp, gaps.0), apart(&residual, out, gaps.1));
            let mut got = vec![7.0; residual.len()];
            let x = Strided { numbers: &x[..], stride: inp + gaps.0 };
            let to = Strided { numbers: &mut got[..], stride: out + gaps.1 };
            kernels.linear_strided(&Threads(threads), x, &w, epilogue(&residual), to);
            for (got, want) in got.chunks_exact(out + gaps.1).zip(want.chunks_exact(out)) {
                prop_assert_eq!(bits(&got[..out]), bits(want));
                prop_assert!(got[out..].iter().all(|&between| between == 7.0));
            }
        }
    }
}

#[test]
fn rows_do_not_meet_in_one_set_of_the_cache() {
    let widths = [0, 1, 384, 768, 1024, 1536, 3072, 4096];
    assert_eq!(widths.map(stride_of), [0, 1, 384, 768, 1040, 1536, 3088, 4112]);
}
