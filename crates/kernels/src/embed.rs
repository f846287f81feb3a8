//! Sums of table rows: the embedding layer.

use crate::simd::{Simd, Work};
use crate::team::{Shared, Team, run_rows};
use crate::{Bf16, Kernels};

/// Rows of `width` numbers, end to end.
#[derive(Clone, Copy, Debug)]
pub enum Table<'a> {
    /// In f32.
    F32(&'a [f32]),
    /// In bf16, half as large: a vocabulary's table is a fifth of a BERT-base.
    Bf16(&'a [Bf16]),
}

/// A table and, for each token, the row of it that counts.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The table.
    pub table: Table<'a>,
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
        let out = Shared::new(out);
        run_rows(team, tokens, 64, |part| {
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
        for (i, lookup) in self.lookups.iter().enumerate() {
            let start = lookup.rows[self.token] as usize * width;
            match lookup.table {
                Table::F32(table) => add(i == 0, table[start..start + width].iter().copied(), self.out),
                Table::Bf16(table) => {
                    add(i == 0, table[start..start + width].iter().copied().map(Bf16::to_f32), self.out);
                }
            }
        }
        if self.lookups.is_empty() {
            self.out.fill(0.0);
        }
    }
}

/// Adds a row to the sums, or begins them with it.
#[inline(always)]
fn add(first: bool, row: impl Iterator<Item = f32>, sums: &mut [f32]) {
    if first {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum = x);
    } else {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
}
