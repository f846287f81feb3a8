//! An encoder's layer 0: rows of tables, added and normed, and in some families projected to the width of the blocks.

use std::borrow::Cow;

use super::load::Loader;
use super::positions::Positions;
use crate::Result;
use crate::batch::Chunk;
use crate::ops::Ops;

/// Which row of a table a token takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Index {
    /// That of its id.
    Id,
    /// That of its token type.
    TypeId,
    /// That of its position.
    Position(Positions),
    /// The first, whatever it is: what a family has of inputs that are not given here.
    First,
}

impl Index {
    fn rows<'c>(self, chunk: &Chunk<'c>) -> Cow<'c, [u32]> {
        match self {
            Self::Id => chunk.ids.into(),
            Self::TypeId => chunk.type_ids.into(),
            Self::Position(rule) => rule.of(chunk).into(),
            Self::First => vec![0; chunk.ids.len()].into(),
        }
    }
}

/// A table that is to be loaded: its name below `embeddings.`, its entries, and who takes which.
pub(super) type Table = (&'static str, usize, Index);

/// LayerNorm(Σ tables), and W · that + b where there is a projection; or LayerNorm(W · Σ tables).
pub(super) struct Embeddings<O: Ops> {
    tables: Vec<(O::Embedding, Index)>,
    layer_norm: O::LayerNorm,
    projection: Option<O::Linear>,
    /// Whether the projection comes before the norm.
    projects_first: bool,
}

impl<O: Ops> Embeddings<O> {
    /// Loads tables, listed in the order in which Transformers adds them.
    pub fn load(load: &mut Loader<'_, O>, tables: &[Table], width: usize, eps: f32) -> Result<Self> {
        Ok(Self {
            tables: load_tables(load, tables, width)?,
            layer_norm: load.layer_norm("embeddings.LayerNorm", width, eps)?,
            projection: None,
            projects_first: false,
        })
    }

    /// Tables of `width` that are projected to another width, `to`, without a bias and before they are normed.
    pub fn load_projected(
        load: &mut Loader<'_, O>,
        tables: &[Table],
        name: &str,
        width: usize,
        to: usize,
        eps: f32,
    ) -> Result<Self> {
        Ok(Self {
            tables: load_tables(load, tables, width)?,
            layer_norm: load.layer_norm("embeddings.LayerNorm", to, eps)?,
            projection: Some(load.head_without_bias(name, to, width)?),
            projects_first: true,
        })
    }

    /// The same, projected to another width.
    pub fn projected(mut self, load: &mut Loader<'_, O>, name: &str, from: usize, to: usize) -> Result<Self> {
        self.projection = Some(load.head(name, to, from)?);
        Ok(self)
    }

    /// The rows of a chunk; `next` reads them first.
    pub fn forward<'r>(
        &self,
        ops: &O,
        chunk: &Chunk<'_>,
        next: Option<&O::Linear>,
        keep: Option<&'r mut [f32]>,
    ) -> Result<O::Rows<'r>> {
        let rows: Vec<Cow<'_, [u32]>> = self.tables.iter().map(|(_, index)| index.rows(chunk)).collect();
        let lookups: Vec<_> = self.tables.iter().zip(&rows).map(|((table, _), rows)| (table, &rows[..])).collect();
        match &self.projection {
            None => ops.embed_norm(&lookups, &self.layer_norm, next, keep),
            Some(projection) if self.projects_first => {
                let projected = ops.project(&ops.embed(&lookups)?, projection, None)?;
                ops.add_norm(&projected, None, &self.layer_norm, next, keep)
            }
            Some(projection) => {
                let narrow = ops.embed_norm(&lookups, &self.layer_norm, Some(projection), None)?;
                ops.project(&narrow, projection, keep)
            }
        }
    }
}

fn load_tables<O: Ops>(load: &mut Loader<'_, O>, tables: &[Table], width: usize) -> Result<Vec<(O::Embedding, Index)>> {
    let table =
        |&(name, entries, index): &Table| Ok((load.embedding(&format!("embeddings.{name}"), entries, width)?, index));
    tables.iter().map(table).collect()
}
