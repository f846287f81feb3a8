//! The vectors of distances on the CPU: f32 in every precision, as attention rounds them when it packs those that a text needs.

use std::sync::Arc;

use bert_layers_kernels::{self as kernels, Epilogue, Kernels, PackedMatrix, Team, try_zeroed};

use crate::Result;
use crate::ops::Distances;
use crate::weights::Tensor;

/// Vectors of distances `[rows, width]`, and which one each distance takes.
pub struct Disentangled {
    keys: Option<Vec<f32>>,
    queries: Option<Vec<f32>>,
    rows: Arc<[u32]>,
    pub(super) terms: usize,
}

impl Disentangled {
    pub(super) fn load(kernels: Kernels, team: &dyn Team, distances: &Distances<'_>) -> Result<Self> {
        let embeddings = distances.embeddings;
        let project = |(weight, bias): &(Tensor, Tensor)| -> Result<Vec<f32>> {
            let &[outputs, inputs] = &weight.shape[..] else {
                return Err(crate::Error::Internal("a projection has two dimensions".into()));
            };
            let matrix = PackedMatrix::pack(kernels, &weight.data, outputs, inputs)?;
            let mut out = try_zeroed(embeddings.shape[0] * outputs)?;
            let epilogue = Epilogue { bias: Some(&bias.data), ..Epilogue::default() };
            kernels.linear(team, &embeddings.data, &matrix, epilogue, &mut out);
            Ok(out)
        };
        Ok(Self {
            keys: distances.keys.map(project).transpose()?,
            queries: distances.queries.map(project).transpose()?,
            rows: distances.rows.clone(),
            terms: distances.terms,
        })
    }

    pub(super) fn tables(&self) -> kernels::Disentangled<'_> {
        kernels::Disentangled { keys: self.keys.as_deref(), queries: self.queries.as_deref(), rows: &self.rows }
    }
}
