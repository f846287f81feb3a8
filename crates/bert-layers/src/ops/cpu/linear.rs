//! Linear layers on the CPU, in each precision.

use std::sync::{Mutex, PoisonError};

use bert_layers_kernels::{Kernels, PackedBf16, PackedInt8, PackedMatrix, Team, Upcoming};

use crate::weights::Tensor;
use crate::{Dtype, Error, Result};

/// How many input channels of an int8 matrix are kept in f32 at most. A BERT's hidden states have a few channels that are ten
/// to a hundred times as large as the others and would drown them in a row's scale; those of the feed-forward network's inner
/// activations change from token to token, so the wide matrix keeps more.
pub(crate) fn most_outliers(inputs: usize) -> usize {
    (inputs / 96).max(8).min(inputs / 8)
}

/// A channel is kept if its largest input is this many times that of the median channel. Of 768 the hidden states of bert-base-uncased
/// have 3 to 8 such channels: to keep eight always brings its tokens no closer to float32 (mean cosine .99953 at the last layer either
/// way), and each costs half a percent of a product's time.
const OUTLIER: f32 = 1.6;

/// A packed matrix and its bias.
pub struct Linear {
    pub(super) matrix: Matrix,
    bias: Option<Vec<f32>>,
}

pub(super) enum Matrix {
    F32(PackedMatrix),
    Bf16(PackedBf16),
    Int8(PackedInt8),
    /// To be int8 once it has seen typical inputs.
    Unsettled(Unsettled),
}

/// The weights of a layer, as the checkpoint has them.
pub(super) enum Weights {
    /// Their outputs come side by side.
    Beside(Vec<Tensor>),
    /// The first, activated, gates the second.
    Gated([Tensor; 2]),
}

impl Weights {
    fn tensors(&self) -> &[Tensor] {
        match self {
            Weights::Beside(weights) => weights,
            Weights::Gated(weights) => weights,
        }
    }

    fn inputs(&self) -> usize {
        self.tensors().first().map_or(0, |weight| weight.shape[1])
    }

    fn f32(&self, kernels: Kernels, team: &dyn Team) -> Result<PackedMatrix> {
        Ok(match self {
            Weights::Beside(weights) => PackedMatrix::pack_by(team, kernels, &beside(weights), self.inputs())?,
            Weights::Gated([gate, up]) => PackedMatrix::pack_gated(team, kernels, &gate.data, &up.data, self.inputs())?,
        })
    }

    fn bf16(&self, kernels: Kernels, team: &dyn Team) -> Result<PackedBf16> {
        Ok(match self {
            Weights::Beside(weights) => PackedBf16::pack_by(team, kernels, &beside(weights), self.inputs())?,
            Weights::Gated([gate, up]) => PackedBf16::pack_gated(team, kernels, &gate.data, &up.data, self.inputs())?,
        })
    }

    fn int8(&self, kernels: Kernels, outliers: &[usize]) -> Result<PackedInt8> {
        let inputs = self.inputs();
        Ok(match self {
            Weights::Beside(weights) => PackedInt8::pack_side_by_side(kernels, &beside(weights), inputs, outliers)?,
            Weights::Gated([gate, up]) => PackedInt8::pack_gated(kernels, &gate.data, &up.data, inputs, outliers)?,
        })
    }
}

fn beside(weights: &[Tensor]) -> Vec<(&[f32], usize)> {
    weights.iter().map(|weight| (weight.data.as_slice(), weight.shape[0])).collect()
}

impl Linear {
    /// `biases` has one for each of the weights.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] for more inputs than int8 adds up; [`Error::OutOfMemory`].
    pub(super) fn load(
        kernels: Kernels,
        team: &dyn Team,
        dtype: Dtype,
        weights: Weights,
        biases: impl IntoIterator<Item = Option<Tensor>>,
    ) -> Result<Self> {
        let biases: Vec<Option<Tensor>> = biases.into_iter().collect();
        let bias = biases.iter().any(Option::is_some).then(|| {
            let of = |(bias, weight): (Option<Tensor>, &Tensor)| bias.map_or(vec![0.0; weight.shape[0]], |b| b.data);
            biases.into_iter().zip(weights.tensors()).flat_map(of).collect()
        });
        let matrix = match dtype {
            Dtype::Bfloat16 => Matrix::Bf16(weights.bf16(kernels, team)?),
            Dtype::Int8 if weights.inputs() > PackedInt8::MOST_INPUTS => {
                return Err(Error::ModelUnsupported(format!(
                    "one of the model's layers has {} inputs, more than int8 adds up exactly ({}): choose dtype 'float32' or 'bfloat16'",
                    weights.inputs(),
                    PackedInt8::MOST_INPUTS
                )));
            }
            Dtype::Int8 => {
                let largest = Mutex::new(vec![0.0; weights.inputs()]);
                Matrix::Unsettled(Unsettled { matrix: weights.f32(kernels, team)?, weights, largest })
            }
            _ => Matrix::F32(weights.f32(kernels, team)?),
        };
        Ok(Self { matrix, bias })
    }

    /// Its weights as those that are read next.
    pub(super) fn upcoming(&self) -> Option<Upcoming<'_>> {
        match &self.matrix {
            Matrix::F32(matrix) => Some(matrix.upcoming()),
            Matrix::Bf16(matrix) => Some(matrix.upcoming()),
            Matrix::Int8(matrix) => Some(matrix.upcoming()),
            Matrix::Unsettled(_) => None,
        }
    }

    /// Columns of the output.
    pub(super) fn outputs(&self) -> usize {
        match &self.matrix {
            Matrix::F32(matrix) => matrix.outputs(),
            Matrix::Bf16(matrix) => matrix.outputs(),
            Matrix::Int8(matrix) => matrix.outputs(),
            Matrix::Unsettled(unsettled) => unsettled.matrix.outputs(),
        }
    }

    /// What the columns start at, if not at 0.
    pub(super) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Ends the looking at samples: chooses the channels to keep in f32, and quantizes the rest.
    pub(super) fn settle(&mut self, kernels: Kernels) -> Result<()> {
        let Matrix::Unsettled(unsettled) = &self.matrix else { return Ok(()) };
        let outliers = unsettled.outliers();
        self.matrix = Matrix::Int8(unsettled.weights.int8(kernels, &outliers)?);
        Ok(())
    }
}

/// A matrix that computes in f32 and watches its inputs.
pub(super) struct Unsettled {
    matrix: PackedMatrix,
    weights: Weights,
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

    /// The channels whose inputs stand out, at most [`most_outliers`] of them, ascending; of equal ones the first.
    fn outliers(&self) -> Vec<usize> {
        let largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut channels: Vec<usize> = (0..largest.len()).collect();
        channels.sort_by(|&a, &b| largest[b].total_cmp(&largest[a]).then(a.cmp(&b)));
        let median = channels.get(channels.len() / 2).map_or(0.0, |&channel| largest[channel]);
        channels.truncate(most_outliers(largest.len()));
        channels.retain(|&channel| largest[channel] > OUTLIER * median);
        channels.sort_unstable();
        channels
    }
}
