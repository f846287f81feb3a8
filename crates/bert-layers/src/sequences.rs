//! Texts → what the encoder sees of them: a sequence a text, or several where a text is split into windows.

use std::borrow::Cow;
use std::ops::Range;

use crate::batch::{Columns, PackedBatch};
use crate::fold::{Plan, Reduce};
use crate::groups::Groups;
use crate::overflow::{Cut, Merge, Overflow};
use crate::{Error, Result, Tokens};

/// The most tokens that a text may have, and what says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub tokens: usize,
    /// As in "512 is the most …".
    pub whose: &'static str,
}

/// The sequences of a call.
#[derive(Debug)]
pub(crate) struct Sequences {
    /// The tokens of every text that have a state: all, but for those left out.
    pub tokens: Tokens,
    pub cuts: Cuts,
    merge: Merge,
    /// The split texts' windows; none where a text is one sequence.
    splits: Vec<Option<Split>>,
    /// The first sequence of each text, and their number at the end.
    first: Vec<usize>,
    /// The first row of each sequence, and their number at the end.
    starts: Vec<usize>,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuts {
    /// For each text the number of tokens that truncating left out; empty where none was.
    pub truncated: Vec<usize>,
    /// For each text the windows that were drawn, as ranges of the whole text's tokens; none where all of it was encoded. Empty
    /// where nothing was drawn of any text.
    pub sampled: Vec<Option<Vec<Range<usize>>>>,
}

/// One text in several windows.
#[derive(Debug)]
struct Split {
    /// Special tokens before and behind the content: each window has them all.
    prefix: usize,
    suffix: usize,
    /// Content of each window: rows of the text.
    windows: Vec<Range<usize>>,
}

impl Sequences {
    /// Applies `overflow` to texts of more tokens than the limit.
    ///
    /// # Errors
    /// [`Error::TooManyTokens`], [`Error::InvalidInput`] for an overflow that makes no sense.
    pub fn new(tokens: Tokens, limit: Limit, overflow: &Overflow) -> Result<Self> {
        let whole = overflow.whole(limit.tokens)?;
        let mut cuts = Vec::new();
        for text in 0..tokens.texts() {
            let (count, ends) = (tokens.rows(text).len(), Ends::of(&tokens, text));
            // A pair is never cut, and where there are special tokens only, nobody knows what content would leave room for.
            if ends.count() < count && !is_pair(&tokens, text) {
                overflow.check(whole.saturating_sub(ends.count()))?;
            }
            if count > whole {
                cuts.push((text, ends, cut(&tokens, text, ends, Limit { tokens: whole, ..limit }, overflow)?));
            }
        }
        let merge = overflow.merge();
        if cuts.is_empty() {
            let (first, starts) = ((0..=tokens.texts()).collect(), tokens.starts.clone());
            return Ok(Self { tokens, cuts: Cuts::default(), merge, splits: Vec::new(), first, starts });
        }
        Ok(Self::cut(tokens, cuts, merge))
    }

    fn cut(all: Tokens, cut: Vec<(usize, Ends, Cut)>, merge: Merge) -> Self {
        let texts = all.texts();
        let mut splits: Vec<Option<Split>> = (0..texts).map(|_| None).collect();
        let mut cuts = Cuts::default();
        let mut kept: Vec<Option<Vec<Range<usize>>>> = vec![None; texts];
        for (text, Ends { prefix, suffix }, cut) in cut {
            let count = all.rows(text).len();
            let shift = |ranges: &[Range<usize>]| -> Vec<Range<usize>> {
                ranges.iter().map(|range| range.start + prefix..range.end + prefix).collect()
            };
            let with_ends = |ranges: &[Range<usize>]| {
                let ends = (0..prefix, count - suffix..count);
                [ends.0].into_iter().chain(shift(ranges)).chain([ends.1]).collect::<Vec<_>>()
            };
            match cut {
                Cut::Kept(ranges) => {
                    cuts.truncated.resize(texts, 0);
                    let rows = with_ends(&ranges);
                    cuts.truncated[text] = count - rows.iter().map(ExactSizeIterator::len).sum::<usize>();
                    kept[text] = Some(rows);
                }
                Cut::Windows(ranges) => splits[text] = Some(Split { prefix, suffix, windows: shift(&ranges) }),
                Cut::Sampled(ranges) => {
                    cuts.sampled.resize(texts, None);
                    cuts.sampled[text] = Some(shift(&ranges));
                    kept[text] = Some(with_ends(&ranges));
                    // Their rows are end to end now.
                    let mut at = prefix;
                    let windows = ranges.iter().map(|range| {
                        at += range.len();
                        at - range.len()..at
                    });
                    splits[text] = Some(Split { prefix, suffix, windows: windows.collect() });
                }
            }
        }
        let tokens = match kept.iter().any(Option::is_some) {
            true => all.keep(&kept),
            false => all,
        };
        let (mut first, mut starts) = (vec![0], vec![0]);
        for (text, split) in splits.iter().enumerate() {
            let lengths: Vec<usize> = match split {
                None => vec![tokens.rows(text).len()],
                Some(split) => split.windows.iter().map(|w| split.prefix + w.len() + split.suffix).collect(),
            };
            for length in lengths {
                starts.push(starts[starts.len() - 1] + length);
            }
            first.push(starts.len() - 1);
        }
        Self { tokens, cuts, merge, splits, first, starts }
    }

    /// What the encoder computes.
    pub fn batch(&self) -> PackedBatch<'_> {
        if self.splits.iter().all(Option::is_none) {
            return PackedBatch::new(&self.tokens);
        }
        let rows = || (0..self.tokens.texts()).flat_map(|text| self.rows_of_sequences(text));
        let Tokens { ids, type_ids, attention_mask, .. } = &self.tokens;
        PackedBatch::of(Columns {
            starts: Cow::Borrowed(&self.starts),
            ids: rows().map(|row| ids[row]).collect(),
            type_ids: rows().map(|row| type_ids[row]).collect(),
            attention_mask: rows().map(|row| attention_mask[row]).collect(),
        })
    }

    /// The tokens that a text's sequences are made of, one sequence after the other.
    fn rows_of_sequences(&self, text: usize) -> Vec<usize> {
        let rows = self.tokens.rows(text);
        match &self.splits[text] {
            None => rows.collect(),
            Some(Split { prefix, suffix, windows }) => windows
                .iter()
                .flat_map(|w| (0..*prefix).chain(w.clone()).chain(rows.len() - suffix..rows.len()))
                .map(|row| rows.start + row)
                .collect(),
        }
    }

    fn split(&self, text: usize) -> Option<&Split> {
        self.splits.get(text)?.as_ref()
    }

    /// How many sequences a text is.
    pub fn count(&self, text: usize) -> usize {
        self.first[text + 1] - self.first[text]
    }

    /// Whether a token may have its state from more than one sequence.
    pub fn averages(&self) -> bool {
        self.merge == Merge::Mean && self.splits.iter().any(Option::is_some)
    }

    /// Whether special tokens have seen one of a text's windows only.
    pub fn ends_see_one_window(&self, text: usize) -> bool {
        self.merge == Merge::Center && self.count(text) > 1
    }

    /// Whether no token of a text was left out.
    pub fn is_whole(&self, text: usize) -> bool {
        let Cuts { truncated, sampled } = &self.cuts;
        truncated.get(text).is_none_or(|&count| count == 0) && sampled.get(text).is_none_or(Option::is_none)
    }

    /// Whether rows of the batch are rows of the result as they are.
    pub fn as_they_are(&self) -> bool {
        self.splits.iter().all(Option::is_none)
    }

    /// How groups of the texts' tokens become rows. Where tokens' states are averages ([`averages`](Self::averages)) this holds
    /// for sums only.
    pub fn plan(&self, reduce: Reduce, groups: &Groups) -> Plan {
        let mut plan = Plan::new(reduce, groups.len());
        let mut split_terms = Vec::new();
        for text in 0..self.tokens.texts() {
            let groups = groups.of(text);
            let Some(split) = self.split(text) else {
                plan.gather_text(groups, self.starts[self.first[text]]);
                continue;
            };
            split_terms.clear();
            for (row, terms) in groups {
                for &(token, weight) in terms {
                    let count = self.tokens.rows(text).len();
                    split.sources(token as usize, count, self.merge, |window, place, share| {
                        let sequence = self.first[text] + window;
                        split_terms.push((sequence, row, self.starts[sequence] + place, weight * share));
                    });
                }
            }
            split_terms.sort_by_key(|&(sequence, row, ..)| (sequence, row)); // stable: a row's terms keep their order
            let mut terms = split_terms.as_slice();
            for sequence in self.first[text]..self.first[text + 1] {
                let (mut of_sequence, rest) = terms.split_at(terms.partition_point(|term| term.0 == sequence));
                while let Some(&(_, row, ..)) = of_sequence.first() {
                    let (of_row, others) = of_sequence.split_at(of_sequence.partition_point(|term| term.1 == row));
                    plan.gather(row, of_row.iter().map(|&(_, _, place, weight)| (place, weight)));
                    of_sequence = others;
                }
                plan.end_sequence();
                terms = rest;
            }
        }
        plan
    }

    /// How the pooler's outputs of sequences become one a text: none where each text is one sequence.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where a text has several windows which are not averaged.
    pub fn pooler_plan(&self) -> Result<Option<Plan>> {
        if self.as_they_are() {
            return Ok(None);
        }
        let mut plan = Plan::new(Reduce::Sum, self.tokens.texts());
        for text in 0..self.tokens.texts() {
            if self.ends_see_one_window(text) {
                return Err(Error::InvalidInput(format!(
                    "text {text} has {} windows, and the pooler would see the first one only: let them be averaged (merge 'mean'), or do without the pooler",
                    self.count(text)
                )));
            }
            for sequence in self.first[text]..self.first[text + 1] {
                plan.gather(text, [(sequence, 1.0 / self.count(text) as f32)]);
                plan.end_sequence();
            }
        }
        Ok(Some(plan))
    }
}

impl Split {
    /// Where the state of a token comes from: `from(window, row of its sequence, weight)`.
    fn sources(&self, token: usize, count: usize, merge: Merge, mut from: impl FnMut(usize, usize, f32)) {
        let Self { prefix, suffix, windows } = self;
        let (content, last) = (*prefix..count - suffix, windows.len() - 1);
        let place = |window: usize| match token {
            _ if token < content.start => token,
            _ if token < content.end => prefix + token - windows[window].start,
            _ => prefix + windows[window].len() + token - content.end,
        };
        let of = match content.contains(&token) {
            true => {
                let end = windows.partition_point(|w| w.start <= token);
                windows[..end].partition_point(|w| w.end <= token)..end
            }
            false => 0..windows.len(),
        };
        match merge {
            Merge::Mean => of.clone().for_each(|window| from(window, place(window), 1.0 / of.len() as f32)),
            Merge::Center if token < content.start => from(0, place(0), 1.0),
            Merge::Center if token >= content.end => from(last, place(last), 1.0),
            Merge::Center => {
                // Twice the distance from the window's middle.
                let distance = |&window: &usize| (2 * token + 1).abs_diff(windows[window].start + windows[window].end);
                if let Some(window) = of.min_by_key(distance) {
                    from(window, place(window), 1.0);
                }
            }
        }
    }
}

/// How many special tokens a text begins and ends with.
#[derive(Debug, Clone, Copy)]
struct Ends {
    prefix: usize,
    suffix: usize,
}

impl Ends {
    fn of(tokens: &Tokens, text: usize) -> Self {
        let special = &tokens.special_tokens_mask[tokens.rows(text)];
        let prefix = special.iter().take_while(|&&special| special).count();
        let suffix = special[prefix..].iter().rev().take_while(|&&special| special).count();
        Self { prefix, suffix }
    }

    fn count(self) -> usize {
        self.prefix + self.suffix
    }
}

fn is_pair(tokens: &Tokens, text: usize) -> bool {
    tokens.sequence_ids[tokens.rows(text)].contains(&Some(1))
}

/// Cuts one text that is too long.
fn cut(tokens: &Tokens, text: usize, ends: Ends, limit: Limit, overflow: &Overflow) -> Result<Cut> {
    let rows = tokens.rows(text);
    let too_many =
        |advice| Error::TooManyTokens { text, tokens: rows.len(), limit: limit.tokens, whose: limit.whose, advice };
    if is_pair(tokens, text) {
        return Err(too_many("a pair is never cut: shorten one of its texts"));
    }
    let content = rows.len() - ends.count();
    let room = limit.tokens.saturating_sub(ends.count());
    if overflow != &Overflow::Error && (room == 0 || content == 0) {
        return Err(too_many("the special tokens leave no room for others"));
    }
    overflow
        .cut(content, room)
        .ok_or_else(|| too_many("shorten the text, or choose an overflow such as 'window' or 'truncate'"))
}

#[cfg(test)]
mod tests;
