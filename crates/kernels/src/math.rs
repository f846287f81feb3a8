//! Functions that processors have no instruction for, from those that they have. The bounds are tested against f64.

use crate::simd::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has so few bits that its product with a whole number below 2⁹ is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// eˣ, within 2 ulp (3 in the portable set); 0 below −104, infinite above 88.73.
///
/// eˣ = 2ⁿ·eʳ with |r| ≤ ln 2 / 2; eʳ is Cephes' `expf` polynomial.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.splat(89.0), s.max(s.splat(-105.0), x));
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fma(n, s.splat(-LN_2_HIGH), x);
    let r = s.fma(n, s.splat(-LN_2_LOW), r);
    let mut p = s.splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = s.fma(p, r, s.splat(coefficient));
    }
    let p = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    s.scale(p, n)
}

/// 2ˣ for x ≤ 0, within 8e-5 of its size, in half the steps of [`exp`]; 0 below −160.
#[inline(always)]
pub(crate) fn rough_exp2<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-160.0), x);
    let n = s.round(x);
    let r = s.sub(x, n);
    let mut p = s.splat(5.517_167e-2);
    for coefficient in [0.242_611_12, 0.693_261, 0.999_928_1] {
        p = s.fma(p, r, s.splat(coefficient));
    }
    s.scale(p, n)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// tanh x: Cephes' polynomial near 0, where 1 − 2 / (e²ˣ + 1) would cancel.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let size = s.abs(x);
    let one = s.splat(1.0);
    let e = exp(s, s.add(size, size));
    let far = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));

    let square = s.mul(x, x);
    let mut p = s.splat(-5.704_988_7e-3);
    for coefficient in [2.063_909e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8] {
        p = s.fma(p, square, s.splat(coefficient));
    }
    let near = s.fma(s.mul(p, square), x, x);
    s.if_less(size, s.splat(0.625), near, s.with_sign(far, x))
}

/// Φ(x), the share of the normal distribution that lies below x, (1 + erf(x/√2))/2: within 1e-7 (2e-7 in the portable set),
/// and within 2e-5 of the true value where that is small, down to x = −4.
///
/// Below 0 it is 2 to the power of a polynomial, fitted to log₂ Φ(−t) so that the error of Φ is small, and above 0 the
/// rest to 1. One polynomial is enough since, unlike with erf, nothing has to be relatively exact near 0; base 2, since
/// then the split into whole and fraction is exact without more ado.
#[inline(always)]
pub(crate) fn normal_cdf<S: Simd>(s: S, x: S::V) -> S::V {
    // Beyond the end of the fit, Φ is 0 in f32 as it is at the end.
    let t = s.min(s.splat(14.5), s.abs(x));
    let mut log = s.splat(-5.485_284e-9);
    for coefficient in [
        2.502_562_2e-7,
        -4.474_178_7e-6,
        3.942_318_7e-5,
        -1.562_699_5e-4,
        -2.459_818_2e-4,
        7.235_175_5e-3,
        -5.262_841e-2,
        -0.459_161_4,
        -1.151_111_2,
        -0.999_999_9,
    ] {
        log = s.fma(log, t, s.splat(coefficient));
    }
    let n = s.round(log);
    let r = s.sub(log, n);
    let mut power = s.splat(1.535_336e-4);
    for coefficient in [1.339_887_5e-3, 9.618_437e-3, 5.550_332_4e-2, 0.240_226_48, std::f32::consts::LN_2, 1.0] {
        power = s.fma(power, r, s.splat(coefficient));
    }
    let below = s.scale(power, n);
    s.if_less(x, s.splat(0.0), below, s.sub(s.splat(1.0), below))
}

/// [`normal_cdf`] within 7e-5, in half the steps: 1/2 + x·p(x²), which ends at ±4.5.
#[inline(always)]
pub(crate) fn rough_normal_cdf<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.splat(4.5), s.max(s.splat(-4.5), x));
    let square = s.mul(x, x);
    let mut p = s.splat(2.999_981_5e-11);
    for coefficient in [
        -3.283_889_6e-9,
        1.580_248_9e-7,
        -4.431_668_5e-6,
        8.120_953e-5,
        -1.036_252_1e-3,
        9.580_649e-3,
        -6.597_726e-2,
        3.987_085_8e-1,
    ] {
        p = s.fma(p, square, s.splat(coefficient));
    }
    s.fma(p, x, s.splat(0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;
    use crate::simd::{WIDEST, Work};

    struct RoughExp2<'a>(&'a [f32]);

    impl Work for RoughExp2<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let mut results = Vec::new();
            for x in self.0.chunks(S::WIDTH) {
                let mut lanes = [0.0; WIDEST];
                // SAFETY: a chunk has at most a vector's floats, the lanes at least.
                unsafe { s.store(lanes.as_mut_ptr(), rough_exp2(s, s.load_first(x.as_ptr(), x.len(), 0.0))) };
                results.extend(&lanes[..x.len()]);
            }
            results
        }
    }

    #[test]
    fn a_rough_power_is_within_its_bound() {
        let x: Vec<f32> = (0..=126_000).map(|i| i as f32 * -1e-3).collect();
        for kernels in Kernels::available() {
            for (x, y) in x.iter().zip(kernels.vectorize(RoughExp2(&x))) {
                let error = f64::from(y) / f64::from(*x).exp2() - 1.0;
                assert!(error.abs() < 8e-5, "{} 2^{x} = {y}: {error:e}", kernels.name());
            }
            let ends = kernels.vectorize(RoughExp2(&[-160.0, -1e30, f32::NEG_INFINITY, f32::NAN]));
            assert!(ends[..3] == [0.0; 3] && ends[3].is_nan(), "{} {ends:?}", kernels.name());
        }
    }
}
