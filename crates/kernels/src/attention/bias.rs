//! A bias of scores by head and distance: the relative positions of MPNet, as of T5 before it.

/// A number for each head and distance of a key from its query, in tokens of their text: `key − query`, so negative where the key
/// comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct DistanceBias {
    heads: usize,
    reach: usize,
    /// `[head][−reach ..= reach]`
    table: Vec<f32>,
}

impl DistanceBias {
    /// The numbers that `bias` gives for a head and a distance. Distances beyond `reach` have that of `reach`, on their side.
    pub fn new(heads: usize, reach: usize, bias: impl Fn(usize, isize) -> f32) -> Self {
        let far = reach as isize;
        let table = (0..heads).flat_map(|head| (-far..=far).map(move |distance| (head, distance)));
        Self { heads, reach, table: table.map(|(head, distance)| bias(head, distance)).collect() }
    }

    /// How many heads it is for.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// The largest distance that has a number of its own.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// All numbers: `[head][−reach ..= reach]`.
    pub fn table(&self) -> &[f32] {
        &self.table
    }

    /// What one head adds to the scores of a text of `len` tokens, where these are still to be scaled.
    pub(super) fn of_text(&self, head: usize, len: usize, scale: f32) -> TextBias {
        let table = &self.table[head * (2 * self.reach + 1)..][..2 * self.reach + 1];
        let zero = len.saturating_sub(1);
        let at = |distance: usize| (distance + self.reach).saturating_sub(zero).min(2 * self.reach);
        TextBias { by_distance: (0..2 * zero + 1).map(|distance| table[at(distance)] / scale).collect(), zero }
    }
}

/// One head's bias of one text: a number for every distance that the text has.
pub(super) struct TextBias {
    by_distance: Vec<f32>,
    /// Where distance 0 is.
    zero: usize,
}

impl TextBias {
    /// Adds it to the scores of one query with these keys, all rows of the text.
    #[inline(always)]
    pub fn add(&self, query: usize, keys: &[usize], scores: &mut [f32]) {
        let at = |key: usize| self.zero + key - query;
        match keys {
            // Distances of neighbours are neighbours.
            [first, .., last] if last - first + 1 == keys.len() => {
                let biases = &self.by_distance[at(*first)..=at(*last)];
                scores.iter_mut().zip(biases).for_each(|(score, bias)| *score += bias);
            }
            _ => scores.iter_mut().zip(keys).for_each(|(score, &key)| *score += self.by_distance[at(key)]),
        }
    }
}
