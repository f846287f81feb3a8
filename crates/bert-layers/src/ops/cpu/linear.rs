//! Linear layers on the CPU, in each precision.

use std::sync::{Mutex, PoisonError};

use bert_layers_kernels::{Kernels, PackedBf16, PackedInt8, PackedMatrix, Team};

use crate::weights::Tensor;
use crate::{Dtype, Result};

/// How many input channels of an int8 matrix are kept in f32. A BERT's hidden states have a few channels that are ten to a
/// hundred times as large as the others and would drown them in a row's scale; those of the feed-forward network's inner
/// activations change from token to token, so the wide matrix keeps more.
fn outliers(inputs: usize) -> usize {
    (inputs / 96).max(8).min(inputs / 8)
}

/// A packed matrix and its bias.
pub struct Linear {
    pub(super) matrix: Matrix,
    pub(super) bias: Vec<f32>,
}

pub(super) enum Matrix {
    F32(PackedMatrix),
    Bf16(PackedBf16),
    Int8(PackedInt8),
    /// To be int8 once it has seen typical inputs.
    Unsettled(Unsettled),
}

impl Linear {
    pub(super) fn load(kernels: Kernels, team: &dyn Team, dtype: Dtype, parts: Vec<(Tensor, Tensor)>) -> Result<Self> {
        let inputs = parts.first().map_or(0, |(weight, _)| weight.shape[1]);
        let (weights, biases): (Vec<Tensor>, Vec<Tensor>) = parts.into_iter().unzip();
        let matrix = match dtype {
            Dtype::Bfloat16 => Matrix::Bf16(PackedBf16::pack_by(team, kernels, &side_by_side(&weights), inputs)?),
            Dtype::Int8 => {
                let matrix = PackedMatrix::pack_by(team, kernels, &side_by_side(&weights), inputs)?;
                Matrix::Unsettled(Unsettled { matrix, weights, largest: Mutex::new(vec![0.0; inputs]) })
            }
            _ => Matrix::F32(PackedMatrix::pack_by(team, kernels, &side_by_side(&weights), inputs)?),
        };
        Ok(Self { matrix, bias: biases.into_iter().flat_map(|bias| bias.data).collect() })
    }

    /// Columns of the output.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Ends the looking at samples: chooses the channels to keep in f32, and quantizes the rest.
    pub(super) fn settle(&mut self, kernels: Kernels) -> Result<()> {
        let Matrix::Unsettled(unsettled) = &self.matrix else { return Ok(()) };
        let inputs = unsettled.matrix.inputs();
        let outliers = unsettled.largest_inputs(outliers(inputs));
        let matrix = PackedInt8::pack_side_by_side(kernels, &side_by_side(&unsettled.weights), inputs, &outliers)?;
        self.matrix = Matrix::Int8(matrix);
        Ok(())
    }
}

fn side_by_side(weights: &[Tensor]) -> Vec<(&[f32], usize)> {
    weights.iter().map(|weight| (weight.data.as_slice(), weight.shape[0])).collect()
}

/// A matrix that computes in f32 and watches its inputs.
pub(super) struct Unsettled {
    matrix: PackedMatrix,
    weights: Vec<Tensor>,
    /// The largest absolute value of each input channel so far.
    largest: Mutex<Vec<f32>>,
}

impl Unsettled {
    pub fn matrix(&self) -> &PackedMatrix {
        &self.matrix
    }

    pub fn look_at(&self, x: &[f32]) {
        let mut largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        for row in x.chunks_exact(largest.len().max(1)) {
            for (largest, x) in largest.iter_mut().zip(row) {
                *largest = largest.max(x.abs());
            }
        }
    }

    /// The channels of the `count` largest inputs, ascending; of equal ones the first.
    fn largest_inputs(&self, count: usize) -> Vec<usize> {
        let largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut channels: Vec<usize> = (0..largest.len()).collect();
        channels.sort_by(|&a, &b| largest[b].total_cmp(&largest[a]).then(a.cmp(&b)));
        channels.truncate(count);
        channels.sort_unstable();
        channels
    }
}
