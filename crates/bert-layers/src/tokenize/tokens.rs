//! The tokens of all texts end to end, in columns.

use std::ops::Range;

use tokenizers::Encoding;

use super::Tokenizer;
use super::offsets::OffsetMap;
use crate::{Error, Result};

/// Tokens of one or more texts, end to end: one entry a token in each column, `starts` says where each text begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Where each text starts, and at the end the number of all tokens: texts + 1 entries.
    pub starts: Vec<usize>,
    /// Rows of the word embedding.
    pub ids: Vec<u32>,
    /// Token types: 0, and 1 for the second text of a pair.
    pub type_ids: Vec<u32>,
    /// Start and end in the text the token came from; (0, 0) for special tokens and for texts given as ids.
    pub offsets: Vec<(u32, u32)>,
    /// The word a token belongs to, counted within its text; none for special tokens.
    pub word_ids: Vec<Option<u32>>,
    /// 0 or 1 for the first or second text of a pair; none for special tokens.
    pub sequence_ids: Vec<Option<u32>>,
    /// Whether the tokenizer added the token, as it does `[CLS]`; for a text given as ids, whether it is such a token.
    pub special_tokens_mask: Vec<bool>,
    /// Whether the token stands for a piece that the vocabulary lacks.
    pub unknown: Vec<bool>,
    /// Whether a token may be attended to.
    pub attention_mask: Vec<bool>,
}

impl Tokens {
    fn with_capacity(texts: usize, tokens: usize) -> Self {
        let mut starts = Vec::with_capacity(texts + 1);
        starts.push(0);
        Self {
            starts,
            ids: Vec::with_capacity(tokens),
            type_ids: Vec::with_capacity(tokens),
            offsets: Vec::with_capacity(tokens),
            word_ids: Vec::with_capacity(tokens),
            sequence_ids: Vec::with_capacity(tokens),
            special_tokens_mask: Vec::with_capacity(tokens),
            unknown: Vec::with_capacity(tokens),
            attention_mask: Vec::with_capacity(tokens),
        }
    }

    /// One text from the tokenizer's answer; `maps` translate the offsets, one a text of a pair, or one a word.
    pub(super) fn from_encoding(encoding: &Encoding, maps: &[OffsetMap], by_word: bool, unknown: Option<u32>) -> Self {
        let count = encoding.len();
        let sequence_ids: Vec<Option<u32>> = encoding.get_sequence_ids().iter().map(|s| s.map(|s| s as u32)).collect();
        let word_ids = encoding.get_word_ids().to_vec();
        let offsets = (0..count)
            .map(|i| {
                let map = if by_word { word_ids[i] } else { sequence_ids[i] };
                map.and_then(|map| maps.get(map as usize))
                    .map_or((0, 0), |map| map.translate(encoding.get_offsets()[i]))
            })
            .collect();
        Self {
            starts: vec![0, count],
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            offsets,
            word_ids,
            sequence_ids,
            special_tokens_mask: encoding.get_special_tokens_mask().iter().map(|&m| m != 0).collect(),
            unknown: encoding.get_ids().iter().map(|&id| Some(id) == unknown).collect(),
            attention_mask: vec![true; count],
        }
    }

    /// One text that was given as ids.
    pub(super) fn from_ids(
        text: usize,
        ids: &[u32],
        type_ids: Option<&[u32]>,
        mask: Option<&[bool]>,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self> {
        let count = ids.len();
        if count == 0 {
            return Err(Error::InvalidInput(format!("text {text} has no ids: give at least one")));
        }
        for (name, length) in [("type_ids", type_ids.map(<[u32]>::len)), ("attention_mask", mask.map(<[bool]>::len))] {
            if let Some(length) = length.filter(|&length| length != count) {
                return Err(Error::InvalidInput(format!(
                    "text {text} has {count} ids but {length} {name}: they must be as many"
                )));
            }
        }
        if mask.is_some_and(|mask| !mask.contains(&true)) {
            return Err(Error::InvalidInput(format!("text {text}: its attention mask leaves no token to attend to")));
        }
        Ok(Self {
            starts: vec![0, count],
            ids: ids.to_vec(),
            type_ids: type_ids.map_or_else(|| vec![0; count], <[u32]>::to_vec),
            offsets: vec![(0, 0); count],
            word_ids: vec![None; count],
            sequence_ids: vec![None; count],
            special_tokens_mask: ids.iter().map(|id| tokenizer.is_some_and(|t| t.special.contains(id))).collect(),
            unknown: ids.iter().map(|&id| tokenizer.is_some_and(|t| t.unknown == Some(id))).collect(),
            attention_mask: mask.map_or_else(|| vec![true; count], <[bool]>::to_vec),
        })
    }

    /// The texts of all parts, in order.
    pub(super) fn concatenate(parts: &[Self]) -> Self {
        let mut all = Self::with_capacity(parts.len(), parts.iter().map(Self::len).sum());
        for part in parts {
            for text in 0..part.texts() {
                all.append(part, part.rows(text));
                all.starts.push(all.len());
            }
        }
        all
    }

    /// Only some tokens of those texts that `kept` has ranges of, counted within the text.
    pub(crate) fn keep(&self, kept: &[Option<Vec<Range<usize>>>]) -> Self {
        let mut all = Self::with_capacity(self.texts(), self.len());
        for (text, kept) in kept.iter().enumerate() {
            let rows = self.rows(text);
            match kept {
                None => all.append(self, rows),
                Some(ranges) => {
                    ranges.iter().for_each(|range| all.append(self, rows.start + range.start..rows.start + range.end))
                }
            }
            all.starts.push(all.len());
        }
        all
    }

    fn append(&mut self, from: &Self, rows: Range<usize>) {
        self.ids.extend_from_slice(&from.ids[rows.clone()]);
        self.type_ids.extend_from_slice(&from.type_ids[rows.clone()]);
        self.offsets.extend_from_slice(&from.offsets[rows.clone()]);
        self.word_ids.extend_from_slice(&from.word_ids[rows.clone()]);
        self.sequence_ids.extend_from_slice(&from.sequence_ids[rows.clone()]);
        self.special_tokens_mask.extend_from_slice(&from.special_tokens_mask[rows.clone()]);
        self.unknown.extend_from_slice(&from.unknown[rows.clone()]);
        self.attention_mask.extend_from_slice(&from.attention_mask[rows]);
    }

    /// Tokens of all texts.
    #[allow(clippy::len_without_is_empty)] // a text has at least one token
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.starts.len() - 1
    }

    /// The rows of one text.
    pub fn rows(&self, text: usize) -> Range<usize> {
        self.starts[text]..self.starts[text + 1]
    }
}
