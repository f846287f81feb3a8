//! What a family adds to attention's scores, as the kernels take it.

use bert_layers_kernels::{Heads, Rotary, Scoring};

use super::Disentangled;
use crate::Result;
use crate::ops::Attention;

/// Calls `f` with what the kernels need to know of how queries and keys become scores.
pub(super) fn with_scoring<R>(
    attention: &Attention<'_, Disentangled>,
    hidden: usize,
    f: impl FnOnce(Scoring<'_>) -> Result<R>,
) -> Result<R> {
    let dim = hidden / attention.heads;
    let terms = attention.disentangled.map_or(1, |disentangled| disentangled.terms);
    let scoring = Scoring {
        heads: Heads { count: attention.heads, dim, scale: 1.0 / ((dim * terms) as f32).sqrt() },
        bias: attention.bias,
        disentangled: attention.disentangled.map(Disentangled::tables),
        rotary: None,
        window: attention.window,
    };
    match attention.rotary {
        None => f(scoring),
        Some(rotary) => {
            let angles = rotary.angles(attention.longest())?;
            let turn = Rotary { cos: &angles.cos, sin: &angles.sin, pairs: rotary.pairs() };
            f(Scoring { rotary: Some(turn), ..scoring })
        }
    }
}
