//! Several layers → one.

use crate::fold::Mix;
use crate::output::Layout;
use crate::{Error, Result};

/// How the layers asked for become one vector; done for each token, before tokens are pooled.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Combine {
    /// The average.
    #[default]
    Mean,
    /// The sum.
    Sum,
    /// The largest of each component.
    Max,
    /// One behind the other, in the order asked for: vectors are as many times longer.
    Concat,
    /// Not at all: a vector for each layer.
    None,
    /// The sum, each layer times its weight, in the order asked for; used as given.
    Weights(Vec<f32>),
    /// γ · Σ softmax(s)ₖ hₖ, as in ELMo (Peters et al. 2018): a scalar for each layer.
    ScalarMix {
        /// s, in the order of the layers asked for.
        scalars: Vec<f32>,
        /// γ.
        gamma: f32,
    },
}

impl Combine {
    /// What this means for these layers.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for weights that are not as many as the layers, or no finite numbers.
    pub(crate) fn mix(&self, layers: &[usize]) -> Result<(Mix, Layout)> {
        let all = |weight: f32| layers.iter().map(|&layer| (layer, weight)).collect();
        let mix = match self {
            Combine::Concat => return Ok((Mix::Each(layers.to_vec()), Layout::RowFirst)),
            Combine::None => Mix::Each(layers.to_vec()),
            Combine::Max => Mix::Max(layers.to_vec()),
            Combine::Sum => Mix::Weighted(all(1.0)),
            Combine::Mean => Mix::Weighted(all(1.0 / layers.len() as f32)),
            Combine::Weights(weights) => Mix::Weighted(pairs(layers, weights, "weights")?),
            Combine::ScalarMix { scalars, gamma } => {
                if !gamma.is_finite() {
                    return Err(Error::InvalidInput(format!("combine: gamma must be a finite number, is {gamma}")));
                }
                Mix::Weighted(softmax(&pairs(layers, scalars, "scalars")?, f64::from(*gamma)))
            }
        };
        // One layer needs no adding up.
        let single = match &mix {
            Mix::Weighted(layers) => matches!(layers.as_slice(), [(_, weight)] if *weight == 1.0),
            Mix::Max(layers) => layers.len() == 1,
            Mix::Each(_) => false,
        };
        Ok((if single { Mix::Each(layers.to_vec()) } else { mix }, Layout::LayerFirst))
    }
}

fn pairs(layers: &[usize], weights: &[f32], what: &str) -> Result<Vec<(usize, f32)>> {
    if weights.len() != layers.len() {
        return Err(Error::InvalidInput(format!(
            "combine has {} {what} for {} layers: give one for each layer",
            weights.len(),
            layers.len()
        )));
    }
    if let Some(weight) = weights.iter().find(|weight| !weight.is_finite()) {
        return Err(Error::InvalidInput(format!("combine: {what} must be finite numbers, one is {weight}")));
    }
    Ok(layers.iter().copied().zip(weights.iter().copied()).collect())
}

fn softmax(scalars: &[(usize, f32)], gamma: f64) -> Vec<(usize, f32)> {
    let most = scalars.iter().fold(f32::NEG_INFINITY, |most, &(_, s)| most.max(s));
    let exp: Vec<f64> = scalars.iter().map(|&(_, s)| (f64::from(s) - f64::from(most)).exp()).collect();
    let sum: f64 = exp.iter().sum();
    scalars.iter().zip(exp).map(|(&(layer, _), e)| (layer, (gamma * e / sum) as f32)).collect()
}
