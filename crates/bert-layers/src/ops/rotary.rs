//! The angles by which a rotary position embedding turns queries and keys.

use std::sync::{Arc, PoisonError, RwLock};

use bert_layers_kernels::try_zeroed;

use crate::Result;

/// Pair i of a head turns by position · θ^(−2i/dim): the "default" kind of Transformers' `rope_parameters`, without scaling.
/// The sines and cosines are kept, for as many positions as the longest text so far had.
pub struct Rotary {
    /// Each pair's angle at position 1.
    frequencies: Vec<f32>,
    angles: RwLock<Arc<Angles>>,
}

/// The cosines and sines of all pairs, position after position.
#[derive(Default)]
pub struct Angles {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

impl Rotary {
    /// For the first `dim` places, an even number, of each head.
    pub fn new(theta: f64, dim: usize) -> Self {
        // Each step is rounded to f32, as in Transformers: far from position 0 the angles are so large that it shows.
        let frequency = |pair: usize| {
            let exponent = (2 * pair) as f32 / dim as f32;
            1.0 / f64::from(theta as f32).powf(f64::from(exponent)) as f32
        };
        Self { frequencies: (0..dim / 2).map(frequency).collect(), angles: RwLock::default() }
    }

    /// How many pairs of places turn: place i with place i + `pairs`.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// The angles of at least that many positions.
    pub fn angles(&self, positions: usize) -> Result<Arc<Angles>> {
        let enough = |angles: &Arc<Angles>| angles.cos.len() >= positions * self.pairs();
        let found = self.angles.read().unwrap_or_else(PoisonError::into_inner).clone();
        if enough(&found) {
            return Ok(found);
        }
        let mut angles = self.angles.write().unwrap_or_else(PoisonError::into_inner);
        if !enough(&angles) {
            *angles = Arc::new(self.compute(positions.next_power_of_two().max(512))?);
        }
        Ok(angles.clone())
    }

    fn compute(&self, positions: usize) -> Result<Angles> {
        let len = positions * self.pairs();
        let mut angles = Angles { cos: try_zeroed(len)?, sin: try_zeroed(len)? };
        let places = angles.cos.chunks_exact_mut(self.pairs()).zip(angles.sin.chunks_exact_mut(self.pairs()));
        for (position, (cos, sin)) in places.enumerate() {
            for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&self.frequencies) {
                let angle = f64::from(position as f32 * frequency);
                (*cos, *sin) = (angle.cos() as f32, angle.sin() as f32);
            }
        }
        Ok(angles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_grows_and_keeps_its_values() {
        let rotary = Rotary::new(10_000.0, 8);
        let short = rotary.angles(3).expect("memory");
        let long = rotary.angles(2000).expect("memory");
        assert!(long.cos.len() >= 2000 * 4);
        assert_eq!(short.cos[..], long.cos[..short.cos.len()]);
        assert_eq!(short.sin[..], long.sin[..short.sin.len()]);
        for (position, pair, angle) in [(0, 3, 0.0), (1, 0, 1.0), (7, 1, 0.7f64), (1999, 2, 19.99)] {
            let at = position * 4 + pair;
            assert!((f64::from(long.cos[at]) - angle.cos()).abs() < 1e-5, "{position} {pair}");
            assert!((f64::from(long.sin[at]) - angle.sin()).abs() < 1e-5, "{position} {pair}");
        }
    }
}
