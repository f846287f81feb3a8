//! Offsets into a text, in the units of the language that asks.

/// What offsets count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetUnit {
    /// Bytes of UTF-8: Rust's `&text[start..end]`.
    #[default]
    Byte,
    /// UTF-16 code units: JavaScript's `text.slice(start, end)`.
    Utf16,
}

impl OffsetUnit {
    /// How long a text is.
    pub fn length(self, text: &str) -> u32 {
        match self {
            OffsetUnit::Byte => text.len() as u32,
            OffsetUnit::Utf16 => text.encode_utf16().count() as u32,
        }
    }
}

/// Translates byte offsets of one text.
///
/// The library's may lie within a character: where a byte-level tokenizer puts a space before the text, it takes that space's
/// byte from the first character. They count as the start of that character.
pub(super) enum OffsetMap {
    /// The text is ASCII: nothing to do.
    Same,
    /// For each byte, and the end, the units before the character that it belongs to.
    Units(Vec<u32>),
}

impl OffsetMap {
    pub fn new(text: &str, unit: OffsetUnit) -> Self {
        if text.is_ascii() {
            return OffsetMap::Same;
        }
        let mut map = Vec::with_capacity(text.len() + 1);
        let mut units = 0;
        for c in text.chars() {
            map.extend(std::iter::repeat_n(units, c.len_utf8()));
            units += match unit {
                OffsetUnit::Byte => c.len_utf8(),
                OffsetUnit::Utf16 => c.len_utf16(),
            } as u32;
        }
        map.push(units);
        OffsetMap::Units(map)
    }

    pub fn translate(&self, (start, end): (usize, usize)) -> (u32, u32) {
        match self {
            OffsetMap::Same => (start as u32, end as u32),
            OffsetMap::Units(map) => {
                let at = |byte: usize| map.get(byte).or(map.last()).copied().unwrap_or(0);
                (at(start), at(end))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn utf16_offsets_cut_what_byte_offsets_cut(text in "\\PC*", a in 0usize..64, b in 0usize..64) {
            let bounds: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
            let (a, b) = (bounds[a % bounds.len()], bounds[b % bounds.len()]);
            let (a, b) = (a.min(b), a.max(b));
            let (start, end) = OffsetMap::new(&text, OffsetUnit::Utf16).translate((a, b));
            let units: Vec<u16> = text.encode_utf16().collect();
            prop_assert_eq!(String::from_utf16(&units[start as usize..end as usize]).expect("whole characters"), &text[a..b]);
            prop_assert_eq!(OffsetMap::new(&text, OffsetUnit::Byte).translate((a, b)), (a as u32, b as u32));
        }
    }
}
