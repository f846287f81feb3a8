//! Text → tokens with their ids, offsets and words.

mod bpe;
mod config;
mod input;
mod limits;
mod load;
mod offsets;
mod tokens;
mod vocab;

pub use input::Input;
pub use load::missing;
pub use offsets::OffsetUnit;
pub use tokens::Tokens;
pub(crate) use vocab::lower_cases_by_default;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bert_layers_kernels::Crew;
use tokenizers::models::ModelWrapper;
use tokenizers::{EncodeInput, Encoding};

use crate::{Cancel, Error, Result, threads};
use offsets::OffsetMap;

/// A model's tokenizer. It never truncates and never pads.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The id that stands for a piece the vocabulary lacks.
    unknown: Option<u32>,
    /// The ids of special tokens such as `[CLS]`.
    special: HashSet<u32>,
}

impl Tokenizer {
    /// Prepares a tokenizer that was read from a file.
    fn new(mut inner: tokenizers::Tokenizer) -> std::result::Result<Self, String> {
        // Files carry the limits of somebody's training run; silently losing text to them is what this library is against.
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);
        limits::check_model(inner.get_model())?;
        let unknown = match inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
            ModelWrapper::BPE(model) => model.get_unk_token().clone(),
            ModelWrapper::Unigram(_) => Some("<unk>".into()),
        };
        let id = match (&unknown, inner.get_model()) {
            (Some(token), ModelWrapper::WordPiece(_) | ModelWrapper::WordLevel(_)) => {
                // Without it these models fail on the first unknown piece.
                Some(
                    inner
                        .token_to_id(token)
                        .ok_or_else(|| format!("the vocabulary lacks the unknown token '{token}'"))?,
                )
            }
            (Some(token), _) => inner.token_to_id(token),
            (None, _) => None,
        };
        let added = inner.get_added_tokens_decoder();
        let special = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id).collect();
        Ok(Self { inner, unknown: id, special })
    }

    /// How it splits words: "WordPiece", "BPE", "Unigram" or "WordLevel".
    pub fn kind(&self) -> &'static str {
        match self.inner.get_model() {
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::Unigram(_) => "Unigram",
        }
    }

    /// The number of its tokens, added ones included.
    pub fn tokens(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// What the vocabulary calls an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Ids back to text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an id that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        if let Some(id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            return Err(Error::InvalidInput(format!("id {id} is not in the tokenizer's vocabulary")));
        }
        caught(|| self.inner.decode(ids, skip_special_tokens))
            .map_err(|e| Error::ModelInvalid(format!("the tokenizer cannot decode these ids: {e}")))
    }

    /// Whether upper and lower case are the same to it.
    pub(crate) fn lower_cases(&self) -> bool {
        let ids = |text: &str| self.encode(text, false).map(|encoding| encoding.get_ids().to_vec());
        ids("ABC").is_ok_and(|upper| ids("abc").is_ok_and(|lower| upper == lower))
    }

    /// Tokens of one input that is not given as ids.
    fn encode<'s>(&self, input: impl Into<EncodeInput<'s>>, add_special_tokens: bool) -> Result<Encoding> {
        caught(|| self.inner.encode(input, add_special_tokens))
            .map_err(|e| Error::ModelInvalid(format!("the tokenizer cannot encode this text: {e}")))
    }
}

/// The library's answer. To what it takes for impossible, such as a file that contradicts itself only in some text, or a pattern that
/// it gives up on, that is a panic.
fn caught<T>(job: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(job)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("its files contradict themselves".into()),
    }
}

/// Tokenizes inputs. Without a tokenizer, inputs must be ids.
///
/// # Errors
/// [`Error::InvalidInput`] for text without a tokenizer, for an input without a token, and for type ids or masks of another length.
pub(crate) fn tokenize(
    crew: &Crew,
    tokenizer: Option<&Tokenizer>,
    inputs: &[Input],
    add_special_tokens: bool,
    unit: OffsetUnit,
    cancel: &Cancel,
) -> Result<Tokens> {
    let parts = threads::map(crew, inputs.len(), |text| {
        cancel.check()?;
        one(tokenizer, &inputs[text], text, add_special_tokens, unit)
    })?;
    Ok(Tokens::concatenate(&parts))
}

fn one(
    tokenizer: Option<&Tokenizer>,
    input: &Input,
    text: usize,
    add_special_tokens: bool,
    unit: OffsetUnit,
) -> Result<Tokens> {
    if let Input::Ids { ids, type_ids, attention_mask } = input {
        return Tokens::from_ids(text, ids, type_ids.as_deref(), attention_mask.as_deref(), tokenizer);
    }
    let Some(tokenizer) = tokenizer else {
        return Err(Error::InvalidInput(
            "this model's folder has no tokenizer, so it takes ids only: add its tokenizer.json, or its vocab.txt with tokenizer_config.json".into(),
        ));
    };
    let (encoding, maps) = match input {
        Input::Text(text) => (tokenizer.encode(text.as_str(), add_special_tokens)?, vec![OffsetMap::new(text, unit)]),
        Input::Pair { text, pair } => (
            tokenizer.encode((text.as_str(), pair.as_str()), add_special_tokens)?,
            vec![OffsetMap::new(text, unit), OffsetMap::new(pair, unit)],
        ),
        Input::Words(words) => (
            tokenizer.encode(words.as_slice(), add_special_tokens)?,
            words.iter().map(|word| OffsetMap::new(word, unit)).collect(),
        ),
        Input::Ids { .. } => unreachable!("answered above"),
    };
    let by_word = matches!(input, Input::Words(_));
    let tokens = Tokens::from_encoding(&encoding, &maps, by_word, tokenizer.unknown);
    if tokens.len() == 0 {
        return Err(Error::InvalidInput(format!(
            "text {text} has no tokens: without special tokens an empty text leaves nothing to encode"
        )));
    }
    Ok(tokens)
}
