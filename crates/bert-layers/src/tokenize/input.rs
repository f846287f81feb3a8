//! What can be encoded.

/// One text, in any of the forms that people have it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A text.
    Text(String),
    /// Two texts that the model sees together, as `[CLS] text [SEP] pair [SEP]`.
    Pair {
        /// The first text.
        text: String,
        /// The second text.
        pair: String,
    },
    /// A text whose words are split already. Offsets count within each word.
    Words(Vec<String>),
    /// A text that is tokenized already, used as it is: no special tokens are added.
    Ids {
        /// Token ids, at least one.
        ids: Vec<u32>,
        /// A token type for each; all 0 by default.
        type_ids: Option<Vec<u32>>,
        /// Whether each token may be attended to; all may by default. A masked token keeps its position and its row.
        attention_mask: Option<Vec<bool>>,
    },
}

impl Input {
    /// About how many tokens it has, without tokenizing it.
    pub fn estimate(&self) -> usize {
        let text = |text: &str| text.len() / 4 + 1;
        match self {
            Input::Text(one) => text(one) + 2,
            Input::Pair { text: one, pair } => text(one) + text(pair) + 3,
            Input::Words(words) => words.iter().map(|word| text(word)).sum::<usize>() + 2,
            Input::Ids { ids, .. } => ids.len(),
        }
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Input::Text(text.into())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        Input::Text(text)
    }
}
