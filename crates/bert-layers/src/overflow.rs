//! What happens to a text with more tokens than the model takes.

use std::ops::Range;

use crate::{Error, Result};

/// What to do with a text that has more tokens than the limit. Special tokens at a text's two ends, such as `[CLS]` and
/// `[SEP]`, are kept always, and each window has its own; the tokens between them are the content that is cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Overflow {
    /// [`Error::TooManyTokens`].
    #[default]
    Error,
    /// Leave tokens out.
    Truncate(Truncate),
    /// Encode the text in windows that overlap, so that every token has a state.
    Window(Window),
    /// Encode only some windows, drawn at random, that do not overlap.
    Sample {
        /// How many; fewer where the text has no room for so many.
        windows: usize,
        /// The same seed draws the same windows of the same text, whatever shares the call.
        seed: u64,
    },
}

/// Which tokens stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncate {
    /// The first ones.
    Head,
    /// The last ones.
    Tail,
    /// The first `head` ones, and as many of the last ones as there is room for. By default the head is a quarter of the room:
    /// 128 of 510 tokens, as in Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?".
    HeadTail {
        /// How many of the first tokens, special ones not counted.
        head: Option<usize>,
    },
}

/// Windows over a long text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Tokens of a window, special ones included; by default the limit. Texts of more tokens are split.
    pub size: Option<usize>,
    /// Tokens from the start of one window to the start of the next; by default half of a window's content. The last window
    /// ends with the text, so it may begin sooner.
    pub stride: Option<usize>,
    /// Which state a token has that is in several windows.
    pub merge: Merge,
}

/// How the states that a token has in several windows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merge {
    /// That of the window in whose middle the token is most nearly, where it has most context on both sides; of two alike, the
    /// earlier one. Special tokens before the text are the first window's, those behind it the last one's.
    #[default]
    Center,
    /// The average over all windows that the token is in; special tokens are in all of them.
    Mean,
}

/// What becomes of the content of one text: ranges of its content tokens, counted from the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Only these, the first and the last ones, are kept, together in one sequence.
    Kept([Range<usize>; 2]),
    /// All is kept, in these windows.
    Windows(Vec<Range<usize>>),
    /// Only these are kept, each in a sequence of its own.
    Sampled(Vec<Range<usize>>),
}

impl Overflow {
    /// How states of one token are merged.
    pub(crate) fn merge(&self) -> Merge {
        match self {
            Overflow::Window(window) => window.merge,
            _ => Merge::Center,
        }
    }

    /// The tokens up to which a text is left whole, where the limit is `limit`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a choice that makes no sense with this limit.
    pub(crate) fn whole(&self, limit: usize) -> Result<usize> {
        let invalid = |message: String| Err(Error::InvalidInput(message));
        match self {
            Overflow::Window(Window { size: Some(size), .. }) if !(1..=limit).contains(size) => {
                invalid(format!("overflow: a window's size must be 1 to {limit} tokens, the limit, not {size}"))
            }
            Overflow::Window(Window { stride: Some(0), .. }) => {
                invalid("overflow: a stride must be at least 1 token".into())
            }
            Overflow::Sample { windows: 0, .. } => invalid("overflow: draw at least 1 window".into()),
            Overflow::Window(Window { size: Some(size), .. }) => Ok(*size),
            _ => Ok(limit),
        }
    }

    /// Whether texts with room for so many tokens beside their special ones could be cut like this, be they long or short: an
    /// option that cannot work is wrong before the first long text comes.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a choice that makes no sense with so much room.
    pub(crate) fn check(&self, room: usize) -> Result<()> {
        let invalid = |message: String| Err(Error::InvalidInput(format!("overflow: {message}")));
        match self {
            Overflow::Window(Window { size: Some(size), .. }) if room == 0 => {
                invalid(format!("a window's size of {size} leaves no room beside the special tokens: make it larger"))
            }
            Overflow::Window(Window { stride: Some(stride), .. }) if *stride > room => invalid(format!(
                "with a stride of {stride} tokens, windows of {room} (special tokens not counted) would leave tokens out"
            )),
            Overflow::Truncate(Truncate::HeadTail { head: Some(head) }) if *head > room => invalid(format!(
                "a head of {head} tokens is more than there is room for beside the special tokens, {room}"
            )),
            _ => Ok(()),
        }
    }

    /// Cuts a text of `content` tokens into pieces of at most `room` tokens, which is fewer, and for which [`check`](Self::check) holds.
    pub(crate) fn cut(&self, content: usize, room: usize) -> Option<Cut> {
        Some(match self {
            Overflow::Error => return None,
            Overflow::Truncate(truncate) => {
                let head = match truncate {
                    Truncate::Head => room,
                    Truncate::Tail => 0,
                    Truncate::HeadTail { head } => head.unwrap_or((room + 2) / 4),
                };
                Cut::Kept([0..head, content - (room - head)..content])
            }
            Overflow::Window(Window { stride, .. }) => {
                let stride = stride.unwrap_or(room.div_ceil(2));
                let last = content - room;
                let starts = (0..last).step_by(stride).chain([last]);
                Cut::Windows(starts.map(|start| start..start + room).collect())
            }
            Overflow::Sample { windows, seed } => {
                let count = (*windows).min(content / room);
                // Sorted numbers of the free tokens, which lie before, between and behind the windows.
                let mut random = SplitMix64(*seed);
                let free = content - count * room;
                let mut before: Vec<usize> = (0..count).map(|_| random.up_to(free)).collect();
                before.sort_unstable();
                let start = |(i, before): (usize, &usize)| i * room + before;
                Cut::Sampled(before.iter().enumerate().map(start).map(|start| start..start + room).collect())
            }
        })
    }
}

/// Steele, Lea and Flood 2014: a small generator of numbers that every machine draws alike.
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number of 0 to `most`, itself included.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The high half of a product is even over the range, to within 2⁻⁶⁴ of it.
        ((u128::from(z) * (most as u128 + 1)) >> 64) as usize
    }
}
