//! One vector of a text's token vectors.

use crate::groups::Groups;
use crate::sequences::Sequences;
use crate::{Error, Result, Tokens};

/// How token vectors become one. Masked tokens never count. Definitions are those of sentence-transformers' `Pooling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pool {
    /// The average.
    #[default]
    Mean,
    /// The first token's: `[CLS]`.
    Cls,
    /// The largest of each component.
    Max,
    /// The last token's.
    Last,
    /// The average weighted with the token's position, counted from 1.
    WeightedMean,
    /// The model's pooler: tanh(W · h + b) of the last layer's first token.
    Pooler,
}

impl Pool {
    /// Every pool with its name.
    pub const NAMES: [(&'static str, Pool); 6] = [
        ("mean", Pool::Mean),
        ("cls", Pool::Cls),
        ("max", Pool::Max),
        ("last", Pool::Last),
        ("weightedmean", Pool::WeightedMean),
        ("pooler", Pool::Pooler),
    ];

    /// The pool's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, pool)| *pool == self).map_or("", |(name, _)| name)
    }

    /// The terms of one row, from the tokens that are pooled, ascending; `first` is the text's first token that is not masked.
    fn terms(self, tokens: &[usize], first: usize) -> Vec<(usize, f32)> {
        let count = tokens.len() as f32;
        let position = |token: usize| (token - first + 1) as f32;
        match self {
            Pool::Mean => tokens.iter().map(|&token| (token, 1.0 / count)).collect(),
            Pool::Max => tokens.iter().map(|&token| (token, 1.0)).collect(),
            Pool::Cls | Pool::Pooler => tokens.first().map(|&token| (token, 1.0)).into_iter().collect(),
            Pool::Last => tokens.last().map(|&token| (token, 1.0)).into_iter().collect(),
            Pool::WeightedMean => {
                let sum: f64 = tokens.iter().map(|&token| f64::from(position(token))).sum();
                tokens.iter().map(|&token| (token, (f64::from(position(token)) / sum) as f32)).collect()
            }
        }
    }
}

/// Which tokens of a text are pooled.
#[derive(Debug, Clone)]
pub(crate) struct Pooled<'a> {
    pub pool: Pool,
    /// Whether special tokens are.
    pub special: bool,
    /// For each text the tokens that it begins with and that are not; empty: none.
    pub skipped: Vec<usize>,
    /// For each text the spans that each get a row of their own, in the units of the tokens' offsets; none: the text gets one row.
    pub spans: Vec<Option<&'a [(u32, u32)]>>,
}

impl Pooled<'_> {
    /// The rows that pooling makes.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a text or a span that leaves no token to pool, and for a token that speaks for a text of
    /// which it has seen one window only.
    pub fn groups(&self, sequences: &Sequences) -> Result<Groups> {
        let tokens = &sequences.tokens;
        let mut groups = Groups::new();
        for text in 0..tokens.texts() {
            let rows = tokens.rows(text);
            let skipped = self.skipped.get(text).copied().unwrap_or(0);
            let first = tokens.attention_mask[rows.clone()].iter().position(|&seen| seen).unwrap_or(0);
            let all = (skipped..rows.len()).filter(|token| {
                let row = rows.start + token;
                tokens.attention_mask[row] && (self.special || !tokens.special_tokens_mask[row])
            });
            match self.spans.get(text).copied().flatten() {
                None => {
                    let all: Vec<usize> = all.collect();
                    if all.is_empty() {
                        return Err(Error::InvalidInput(format!(
                            "text {text} has no token to pool: it has special tokens only, or those of the prompt"
                        )));
                    }
                    self.check_windows(sequences, text)?;
                    groups.push(self.pool.terms(&all, first));
                }
                Some(spans) => {
                    let all: Vec<usize> = all.filter(|token| is_of_text(tokens, rows.start + token)).collect();
                    for (span, &(start, end)) in spans.iter().enumerate() {
                        let within = in_span(tokens, rows.start, &all, start, end);
                        if within.is_empty() {
                            return Err(Error::InvalidInput(format!(
                                "text {text}: span {span}, [{start}, {end}], covers no token: it is white space, or beyond what was kept of the text"
                            )));
                        }
                        groups.push(self.pool.terms(within, first));
                    }
                }
            }
            groups.end_text();
        }
        Ok(groups)
    }

    fn check_windows(&self, sequences: &Sequences, text: usize) -> Result<()> {
        if matches!(self.pool, Pool::Cls | Pool::Last) && sequences.ends_see_one_window(text) {
            return Err(Error::InvalidInput(format!(
                "text {text} has {} windows, and pool '{}' takes a token that has seen one of them only: average it over them \
                 (overflow: window with merge 'mean'), or pool 'mean'",
                sequences.count(text),
                self.pool.name()
            )));
        }
        Ok(())
    }
}

/// Special tokens stand for no characters; the prompt's were taken away.
fn is_of_text(tokens: &Tokens, row: usize) -> bool {
    tokens.sequence_ids[row].is_some() && tokens.offsets[row].0 < tokens.offsets[row].1
}

/// Those of `all` that overlap a span; offsets ascend.
fn in_span<'a>(tokens: &Tokens, first_row: usize, all: &'a [usize], start: u32, end: u32) -> &'a [usize] {
    let from = all.partition_point(|token| tokens.offsets[first_row + token].1 <= start);
    let to = all.partition_point(|token| tokens.offsets[first_row + token].0 < end);
    &all[from..to.max(from)]
}
