//! How a family numbers the tokens of a text: the rows of its position embedding.

use crate::batch::Chunk;

/// A rule for positions. It sees one text at a time: a text's positions are its own whatever shares its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Positions {
    /// 0, 1, 2, …: BERT's.
    FromZero,
    /// RoBERTa's, after fairseq's `make_positions`: a token with the padding id has that id for its position wherever it
    /// stands, masked or not, and the others count on from there.
    AfterPadding(u32),
}

impl Positions {
    /// The position of each token.
    pub fn of(self, chunk: &Chunk<'_>) -> Vec<u32> {
        let mut positions = vec![0; chunk.ids.len()];
        for text in chunk.texts {
            let (ids, positions) = (&chunk.ids[text.clone()], &mut positions[text.clone()]);
            match self {
                Self::FromZero => positions.iter_mut().zip(0..).for_each(|(position, at)| *position = at),
                Self::AfterPadding(padding) => {
                    let mut last = padding;
                    for (position, &id) in positions.iter_mut().zip(ids) {
                        last += u32::from(id != padding);
                        *position = if id == padding { padding } else { last };
                    }
                }
            }
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(rule: Positions, ids: &[u32], texts: &[std::ops::Range<usize>]) -> Vec<u32> {
        rule.of(&Chunk { ids, type_ids: &[], texts, mask: None })
    }

    #[test]
    fn each_text_counts_for_itself() {
        let ids = [7, 1, 8, 9, 1, 7, 7];
        assert_eq!(positions(Positions::FromZero, &ids, &[0..4, 4..7]), [0, 1, 2, 3, 0, 1, 2]);
        assert_eq!(positions(Positions::AfterPadding(1), &ids, &[0..4, 4..7]), [2, 1, 3, 4, 1, 2, 3]);
        assert_eq!(positions(Positions::AfterPadding(0), &ids, &[0..4, 4..7]), [1, 2, 3, 4, 1, 2, 3]);
    }
}
