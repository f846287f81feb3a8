//! Groups of a text's tokens, each to become one row: a word, a span, or all that a pool takes.

use std::ops::Range;

/// The groups of every text, in order; the n-th group of all is row n of the result.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Tokens, counted within their text, with their weights.
    terms: Vec<(u32, f32)>,
    /// Where each group's terms end.
    ends: Vec<usize>,
    /// The first group of each text, and their number at the end.
    texts: Vec<usize>,
}

impl Groups {
    /// No texts yet.
    pub fn new() -> Self {
        Self { terms: Vec::new(), ends: Vec::new(), texts: vec![0] }
    }

    /// Every token by itself.
    pub fn tokens(starts: &[usize]) -> Self {
        let mut groups = Self::new();
        for rows in starts.windows(2) {
            (0..rows[1] - rows[0]).for_each(|token| groups.push([(token, 1.0)]));
            groups.end_text();
        }
        groups
    }

    /// The text at hand has one group more.
    pub fn push(&mut self, terms: impl IntoIterator<Item = (usize, f32)>) {
        self.terms.extend(terms.into_iter().map(|(token, weight)| (token as u32, weight)));
        self.ends.push(self.terms.len());
    }

    /// The text at hand has no more groups: the next text follows.
    pub fn end_text(&mut self) {
        self.texts.push(self.ends.len());
    }

    /// Groups of all texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The first group of each text, and their number at the end.
    pub fn starts(&self) -> &[usize] {
        &self.texts
    }

    /// The groups of a text, with the rows that they become.
    pub fn of(&self, text: usize) -> impl Iterator<Item = (usize, &[(u32, f32)])> {
        let rows: Range<usize> = self.texts[text]..self.texts[text + 1];
        rows.map(|row| {
            let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
            (row, &self.terms[start..self.ends[row]])
        })
    }
}
