//! Sums of table rows: the embedding layer.

use crate::simd::{Simd, Work};
use crate::team::{Shared, Team, piece, row_pieces};
use crate::{Kernels, team};

/// A table and, for each token, the row of it that counts.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Rows of `width` floats, end to end.
    pub table: &'a [f32],
    /// One row number for each token.
    pub rows: &'a [u32],
}

impl Kernels {
    /// `out[t] = tables[0][rows[t]] + tables[1][rows[t]] + …`, rows of `width` floats, added in the order given.
    ///
    /// # Panics
    /// Unless `out` has one row for each token, and every lookup one row number for each, which its table has.
    pub fn embed(self, team: &dyn Team, lookups: &[Lookup<'_>], width: usize, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        assert!(width > 0 && out.len().is_multiple_of(width), "embed: rows of {width} in {}", out.len());
        let tokens = out.len() / width;
        for lookup in lookups {
            assert_eq!(lookup.rows.len(), tokens, "embed: row numbers and rows of out");
        }
        let pieces = row_pieces(team, tokens, 64);
        let out = Shared::new(out);
        team::run(team, pieces, |task| {
            let part = piece(tokens, pieces, task);
            for token in part {
                // SAFETY: each token has its own row.
                let out = unsafe { out.part(token * width..(token + 1) * width) };
                self.vectorize(SumRows { lookups, token, out });
            }
        });
    }
}

struct SumRows<'a> {
    lookups: &'a [Lookup<'a>],
    token: usize,
    out: &'a mut [f32],
}

impl Work for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let width = self.out.len();
        let Some((first, others)) = self.lookups.split_first() else {
            return self.out.fill(0.0);
        };
        self.out.copy_from_slice(row(first, self.token, width));
        for lookup in others {
            for (sum, x) in self.out.iter_mut().zip(row(lookup, self.token, width)) {
                *sum += x;
            }
        }
    }
}

#[inline(always)]
fn row<'a>(lookup: &Lookup<'a>, token: usize, width: usize) -> &'a [f32] {
    let start = lookup.rows[token] as usize * width;
    &lookup.table[start..start + width]
}
