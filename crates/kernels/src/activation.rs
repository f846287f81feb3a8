//! The functions that `hidden_act` of a model's configuration can name.

use crate::Kernels;
use crate::math::{exp, normal_cdf, rough_normal_cdf, sigmoid, tanh};
use crate::simd::{Simd, Work};
use crate::team::{Shared, Team, run_rows};

/// A function that is applied to each element.
///
/// The names in brackets are those that Transformers gives it (`ACT2FN`). Tested for every one: the error is at most
/// 2e-7 · max(1, |x|, |result|); for the usual ones (GELU, ReLU, SiLU, tanh) 1.5e-7 · max(1, |x|), which is what rounding x
/// and the result to f32 alone may cost. NaN gives NaN. At +∞ each has its limit; at −∞ those that multiply x with a
/// factor that vanishes give NaN, as PyTorch's do.
///
/// In the epilogue of a linear layer in bf16 or int8, [`Gelu`](Self::Gelu) is within 5e-5 + 2e-5 · |x|: far below the
/// rounding of its inputs, and twice as fast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// x (linear)
    #[default]
    Identity,
    /// x·(1 + erf(x/√2))/2 (gelu, gelu_python)
    Gelu,
    /// [`Gelu`](Self::Gelu), its result kept within ±10 (gelu_10)
    GeluClipped,
    /// x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2 (gelu_new, gelu_fast, gelu_accurate, gelu_pytorch_tanh, gelu_python_tanh:
    /// they differ in rounding only)
    GeluTanh,
    /// x·sigmoid(1.702·x) (quick_gelu)
    QuickGelu,
    /// max(x, 0) (relu)
    Relu,
    /// max(x, 0)² (relu2)
    ReluSquared,
    /// min(max(x, 0), 6) (relu6)
    Relu6,
    /// x, or slope·x if negative (leaky_relu with 0.01; prelu with what was learned)
    LeakyRelu(f32),
    /// 1/(1 + e⁻ˣ) (sigmoid)
    Sigmoid,
    /// x·sigmoid(x) (silu, swish)
    Silu,
    /// tanh x (tanh)
    Tanh,
    /// x·tanh(ln(1 + eˣ)) (mish)
    Mish,
    /// x·min(max(x + 3, 0), 6)/6 (hardswish)
    HardSwish,
    /// (1 + erf((x − 0.707107)/(0.282095·√2)))/2 (laplace)
    Laplace,
    /// √ln(1 + eˣ) (sqrtsoftplus)
    SqrtSoftplus,
    /// positive·x² + beta·x for x > 0, else negative·(e^min(x, eps) − 1 − x) + beta·x (xielu, arXiv 2411.13010). The coefficients are
    /// those of the formula: what a checkpoint holds goes through softplus first.
    Xielu {
        /// The curvature on the right.
        positive: f32,
        /// The curvature on the left.
        negative: f32,
        /// The slope at zero.
        beta: f32,
        /// Just below zero: keeps e^x − 1 − x from cancelling.
        eps: f32,
    },
}

impl Kernels {
    /// Replaces each element of `x` by the function's value.
    pub fn activate(self, team: &dyn Team, activation: Activation, x: &mut [f32]) {
        let (len, x) = (x.len(), Shared::new(x));
        run_rows(team, len, 1 << 14, |part| {
            // SAFETY: pieces do not overlap.
            let x = unsafe { x.part(part) };
            self.vectorize(Activate { activation, x });
        });
    }
}

struct Activate<'a> {
    activation: Activation,
    x: &'a mut [f32],
}

impl Work for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.activation.apply(s, self.x);
    }
}

/// Applies a formula to each vector of a slice. A macro and not a closure: see `simd`.
macro_rules! each {
    ($s:ident, $slice:ident, $x:ident => $formula:expr) => {{
        let start = $slice.as_mut_ptr();
        let whole = $slice.len() / S::WIDTH * S::WIDTH;
        let rest = $slice.len() - whole;
        for i in (0..whole).step_by(S::WIDTH) {
            // SAFETY: i + WIDTH ≤ whole ≤ len.
            let $x = unsafe { $s.load(start.add(i)) };
            let y = $formula;
            // SAFETY: as above.
            unsafe { $s.store(start.add(i), y) };
        }
        if rest > 0 {
            // SAFETY: `rest` < WIDTH floats follow `whole`.
            let $x = unsafe { $s.load_first(start.add(whole), rest, 0.0) };
            let y = $formula;
            // SAFETY: as above.
            unsafe { $s.store_first(start.add(whole), rest, y) };
        }
    }};
}

impl Activation {
    /// Each lane is computed alone and the same way wherever it lies in the slice.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, slice: &mut [f32]) {
        let zero = s.splat(0.0);
        match self {
            Activation::Identity => {}
            Activation::Gelu => each!(s, slice, x => gelu(s, x)),
            Activation::GeluClipped => each!(s, slice, x => {
                s.min(s.splat(10.0), s.max(s.splat(-10.0), gelu(s, x)))
            }),
            Activation::GeluTanh => each!(s, slice, x => gelu_tanh(s, x)),
            Activation::QuickGelu => each!(s, slice, x => {
                s.mul(x, sigmoid(s, s.mul(x, s.splat(1.702))))
            }),
            Activation::Relu => each!(s, slice, x => s.max(zero, x)),
            Activation::ReluSquared => each!(s, slice, x => {
                let x = s.max(zero, x);
                s.mul(x, x)
            }),
            Activation::Relu6 => each!(s, slice, x => s.min(s.splat(6.0), s.max(zero, x))),
            Activation::LeakyRelu(slope) => each!(s, slice, x => {
                s.if_less(x, zero, s.mul(x, s.splat(slope)), x)
            }),
            Activation::Sigmoid => each!(s, slice, x => sigmoid(s, x)),
            Activation::Silu => each!(s, slice, x => s.mul(x, sigmoid(s, x))),
            Activation::Tanh => each!(s, slice, x => tanh(s, x)),
            Activation::Mish => each!(s, slice, x => mish(s, x)),
            Activation::HardSwish => each!(s, slice, x => {
                let gate = s.min(s.splat(6.0), s.max(zero, s.add(x, s.splat(3.0))));
                s.mul(x, s.mul(gate, s.splat(1.0 / 6.0)))
            }),
            Activation::Laplace => each!(s, slice, x => laplace(s, x)),
            Activation::SqrtSoftplus => each!(s, slice, x => s.map(x, |x| softplus(x).sqrt())),
            Activation::Xielu { positive, negative, beta, eps } => {
                each!(s, slice, x => s.map(x, |x| {
                    if x > 0.0 {
                        positive * x * x + beta * x
                    } else {
                        // Not `x.min(eps)`, which would turn NaN into eps.
                        let capped = if x > eps { eps } else { x };
                        (capped.exp_m1() - x) * negative + beta * x
                    }
                }));
            }
        }
    }
}

impl Activation {
    /// [`apply`](Self::apply) for numbers whose precision is that of bf16 or int8: GELU, the one that takes time, within
    /// 5e-5 + 2e-5 · |x|.
    #[inline(always)]
    pub(crate) fn apply_rough<S: Simd>(self, s: S, slice: &mut [f32]) {
        match self {
            Activation::Gelu => each!(s, slice, x => s.mul(x, rough_normal_cdf(s, x))),
            other => other.apply(s, slice),
        }
    }
}

#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, normal_cdf(s, x))
}

/// As (1 + tanh u)/2 = sigmoid(2u), which does not cancel where u is negative.
#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
    let cubic = s.fma(s.mul(x, x), s.splat(0.044_715 * TWICE_SQRT_2_OVER_PI), s.splat(TWICE_SQRT_2_OVER_PI));
    s.mul(x, sigmoid(s, s.mul(x, cubic)))
}

/// With e = eˣ, tanh(ln(1 + e)) = ((1 + e)² − 1)/((1 + e)² + 1) = (e² + 2e)/(e² + 2e + 2): no logarithm. It is 1 in f32
/// well before e² overflows.
#[inline(always)]
fn mish<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.min(s.splat(20.0), x));
    let top = s.mul(e, s.add(e, s.splat(2.0)));
    s.mul(x, s.div(top, s.add(top, s.splat(2.0))))
}

#[inline(always)]
#[allow(clippy::approx_constant)] // the formula has six digits of 1/√2, and the results follow it
fn laplace<S: Simd>(s: S, x: S::V) -> S::V {
    normal_cdf(s, s.div(s.sub(x, s.splat(0.707_107)), s.splat(0.282_095)))
}

/// ln(1 + eˣ), as `torch.nn.functional.softplus` computes it: x itself above 20.
fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}
