//! f64, whose error is far below what f32 can show.

/// Several at a time, since a single one would wait for each addition.
const CHAINS: usize = 8;

/// a · b.
///
/// # Panics
/// Unless both are as long.
pub fn exact_dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// Σ (a − b)².
///
/// # Panics
/// Unless both are as long.
pub fn exact_squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "exact: lengths");
    let (a, rest_of_a) = a.as_chunks::<CHAINS>();
    let (b, rest_of_b) = b.as_chunks::<CHAINS>();
    let mut sums = [0.0; CHAINS];
    for (a, b) in a.iter().zip(b) {
        for i in 0..CHAINS {
            sums[i] += term(f64::from(a[i]), f64::from(b[i]));
        }
    }
    for (i, (&a, &b)) in rest_of_a.iter().zip(rest_of_b).enumerate() {
        sums[i] += term(f64::from(a), f64::from(b));
    }
    sums.iter().sum()
}
