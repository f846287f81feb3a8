//! Words: what the tokenizer, or the user, split a text into before it was split into tokens.

use std::ops::Range;

use crate::groups::Groups;
use crate::{Error, Input, Result, Tokens};

/// How the tokens of a word become its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordPool {
    /// The first token's state.
    First,
    /// The last token's state.
    Last,
    /// The average.
    Mean,
    /// The largest of each component.
    Max,
}

/// The words of all texts end to end, in columns; special tokens belong to none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// Where each text's words start, and at the end the number of all words.
    pub starts: Vec<usize>,
    /// The word's number in its text, as in `word_ids`.
    pub word_ids: Vec<u32>,
    /// 0, or 1 in the second text of a pair, which counts its own words.
    pub sequence_ids: Vec<u32>,
    /// The word's tokens, counted within the text. None (start is end) for a word that was given and has no tokens, such as an
    /// empty one; its row is zero.
    pub tokens: Vec<Range<usize>>,
}

impl Words {
    /// The words of texts; `whole` says of which texts no token was left out.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a text that was given as ids: nothing says what its words are.
    pub(crate) fn of(tokens: &Tokens, inputs: &[Input], whole: impl Fn(usize) -> bool) -> Result<Self> {
        let mut words = Self { starts: vec![0], ..Self::default() };
        for (text, input) in inputs.iter().enumerate() {
            let rows = tokens.rows(text);
            let given = match input {
                Input::Ids { .. } => {
                    return Err(Error::InvalidInput(format!(
                        "text {text} was given as ids, so nothing says what its words are: give {{ text }} or {{ words }}"
                    )));
                }
                Input::Words(given) if whole(text) => Some(given.len() as u32),
                _ => None,
            };
            let mut next = 0; // of the words that were given
            for (token, row) in rows.clone().enumerate() {
                let (Some(word), Some(sequence)) = (tokens.word_ids[row], tokens.sequence_ids[row]) else { continue };
                let last = words.tokens.len().checked_sub(1).filter(|&last| last >= words.starts[text]);
                match last {
                    Some(last) if (words.word_ids[last], words.sequence_ids[last]) == (word, sequence) => {
                        words.tokens[last].end = token + 1;
                    }
                    _ => {
                        if given.is_some() {
                            (next..word).for_each(|empty| words.push(empty, sequence, token..token));
                        }
                        words.push(word, sequence, token..token + 1);
                        next = word + 1;
                    }
                }
            }
            let end = rows.len();
            (next..given.unwrap_or(0)).for_each(|empty| words.push(empty, 0, end..end));
            words.starts.push(words.tokens.len());
        }
        Ok(words)
    }

    fn push(&mut self, word_id: u32, sequence_id: u32, tokens: Range<usize>) {
        self.word_ids.push(word_id);
        self.sequence_ids.push(sequence_id);
        self.tokens.push(tokens);
    }

    /// Words of all texts.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The words of one text.
    pub fn rows(&self, text: usize) -> Range<usize> {
        self.starts[text]..self.starts[text + 1]
    }

    /// A row for each word.
    pub(crate) fn groups(&self, pool: WordPool) -> Groups {
        let mut groups = Groups::new();
        for text in 0..self.starts.len() - 1 {
            for tokens in &self.tokens[self.rows(text)] {
                let weight = match pool {
                    WordPool::Mean => 1.0 / tokens.len() as f32,
                    _ => 1.0,
                };
                let taken = match pool {
                    WordPool::First => tokens.start..tokens.end.min(tokens.start + 1),
                    WordPool::Last => tokens.start.max(tokens.end.saturating_sub(1))..tokens.end,
                    WordPool::Mean | WordPool::Max => tokens.clone(),
                };
                groups.push(taken.map(|token| (token, weight)));
            }
            groups.end_text();
        }
        groups
    }
}
