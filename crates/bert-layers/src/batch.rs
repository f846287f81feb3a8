//! Tokens → one packed batch: the tokens of all texts end to end, no padding anywhere, and the chunks it is computed in.

use std::borrow::Cow;
use std::ops::Range;

use crate::Tokens;

/// What the encoder reads of a run of whole texts: one entry a token in each column.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Rows of the word embedding.
    pub ids: &'a [u32],
    /// Rows of the token type embedding.
    pub type_ids: &'a [u32],
    /// The rows of each text, counted within the chunk.
    pub texts: &'a [Range<usize>],
    /// Which rows may be attended to; none: all.
    pub mask: Option<&'a [bool]>,
}

/// What a batch is packed from: one entry a token in each column, and where each sequence of tokens starts.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Where each sequence starts, and at the end the number of all tokens.
    pub starts: Cow<'a, [usize]>,
    /// As in [`Tokens`].
    pub ids: Cow<'a, [u32]>,
    /// As in [`Tokens`].
    pub type_ids: Cow<'a, [u32]>,
    /// As in [`Tokens`].
    pub attention_mask: Cow<'a, [bool]>,
}

/// The packed batch.
#[derive(Debug)]
pub struct PackedBatch<'a> {
    columns: Columns<'a>,
    masked: bool,
}

impl<'a> PackedBatch<'a> {
    /// Packs texts, each as it is.
    pub fn new(tokens: &'a Tokens) -> Self {
        Self::of(Columns {
            starts: Cow::Borrowed(&tokens.starts),
            ids: Cow::Borrowed(&tokens.ids),
            type_ids: Cow::Borrowed(&tokens.type_ids),
            attention_mask: Cow::Borrowed(&tokens.attention_mask),
        })
    }

    /// Packs sequences, each with positions of its own. A "text" of the batch is such a sequence.
    pub fn of(columns: Columns<'a>) -> Self {
        let masked = columns.attention_mask.contains(&false);
        Self { columns, masked }
    }

    /// Runs of several batches in one.
    pub fn join<'b>(runs: impl Iterator<Item = (&'b PackedBatch<'b>, &'b Range<usize>)>) -> PackedBatch<'static> {
        let (mut starts, mut ids, mut type_ids, mut attention_mask) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        for (PackedBatch { columns, .. }, run) in runs {
            let (first, end) = (columns.starts[run.start], ids.len());
            starts.extend(columns.starts[run.start + 1..=run.end].iter().map(|start| end + start - first));
            let rows = first..columns.starts[run.end];
            ids.extend_from_slice(&columns.ids[rows.clone()]);
            type_ids.extend_from_slice(&columns.type_ids[rows.clone()]);
            attention_mask.extend_from_slice(&columns.attention_mask[rows]);
        }
        PackedBatch::of(Columns {
            starts: starts.into(),
            ids: ids.into(),
            type_ids: type_ids.into(),
            attention_mask: attention_mask.into(),
        })
    }

    /// Splits the texts into at least `parts` runs of about equal work where there are enough texts, each of at most about `rows`
    /// rows: a run's rows stay in a core's cache through all layers. No text is ever split.
    pub fn split(&self, parts: usize, rows: usize) -> Vec<Range<usize>> {
        let total = self.len();
        let parts = parts.max(1);
        // As many rounds of `parts` runs as keep a run within `rows`, so that all threads end together.
        let rounds = total.div_ceil(parts * rows.max(1)).max(1);
        let target = total.div_ceil(parts * rounds);
        let mut runs = Vec::with_capacity(parts * rounds);
        let mut start = 0;
        for text in 0..self.texts() {
            let end = self.columns.starts[text + 1];
            // A run ends with the text whose end comes nearest to where the run should end.
            let goal = (runs.len() + 1) * target;
            let next = self.columns.starts.get(text + 2).copied();
            if next.is_none_or(|next| next.abs_diff(goal) >= end.abs_diff(goal) && next > goal) {
                runs.push(start..text + 1);
                start = text + 1;
            }
        }
        runs
    }

    /// The rows of a run of texts.
    pub fn rows(&self, texts: &Range<usize>) -> Range<usize> {
        self.columns.starts[texts.start]..self.columns.starts[texts.end]
    }

    /// The ranges of a run's texts, counted within the run.
    pub fn ranges(&self, texts: &Range<usize>) -> Vec<Range<usize>> {
        let start = self.columns.starts[texts.start];
        texts
            .clone()
            .map(|text| self.rows(&(text..text + 1)))
            .map(|rows| rows.start - start..rows.end - start)
            .collect()
    }

    /// A run of texts; `ranges` are its [`ranges`](Self::ranges).
    pub fn chunk<'c>(&'c self, texts: &Range<usize>, ranges: &'c [Range<usize>]) -> Chunk<'c> {
        let rows = self.rows(texts);
        Chunk {
            ids: &self.columns.ids[rows.clone()],
            type_ids: &self.columns.type_ids[rows.clone()],
            texts: ranges,
            mask: self.masked.then(|| &self.columns.attention_mask[rows]),
        }
    }

    /// Rows of all texts.
    pub fn len(&self) -> usize {
        self.columns.ids.len()
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.columns.starts.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;
    use crate::tokenize::{Input, OffsetUnit, tokenize};
    use bert_layers_kernels::Crew;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_in_one_run(lengths in prop::collection::vec(1usize..200, 1..60), parts in 1usize..5, rows in 1usize..300) {
            let inputs: Vec<Input> =
                lengths.iter().map(|&n| Input::Ids { ids: vec![1; n], type_ids: None, attention_mask: None }).collect();
            let crew = Crew::start(1).expect("no thread is needed");
            let tokens = tokenize(&crew, None, &inputs, true, OffsetUnit::Byte, &Cancel::new()).expect("ids need no tokenizer");
            let batch = PackedBatch::new(&tokens);
            let runs = batch.split(parts, rows);
            let texts: Vec<usize> = runs.iter().cloned().flatten().collect();
            prop_assert_eq!(texts, (0..lengths.len()).collect::<Vec<_>>());
            let longest = lengths.iter().max().expect("not empty");
            for run in &runs {
                prop_assert!(!run.is_empty());
                prop_assert!(batch.rows(run).len() <= rows + 2 * longest, "{run:?} of {lengths:?}");
            }
        }
    }
}
