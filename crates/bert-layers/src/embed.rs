//! One vector a text, or a span of it.

use crate::call::Call;
use crate::combine::Combine;
use crate::config::{Pooling, SentenceConfig};
use crate::embeddings::{Embeddings, PoolingSource, Used};
use crate::encoder::Encoder;
use crate::fold::Reduce;
use crate::layers::Layers;
use crate::output::{Layout, Wanted, Written};
use crate::overflow::Overflow;
use crate::pool::{Pool, Pooled};
use crate::precision::Precision;
use crate::reduce::{Reduction, Rest};
use crate::sequences::{Limit, Sequences};
use crate::tokenize::{Input, OffsetUnit, Tokens};
use crate::{Cancel, Error, Result};

/// What to embed: an input, and the spans of it that each get a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedInput {
    /// The input.
    pub input: Input,
    /// Start and end of spans of the text, in the units of [`EmbedOptions::offsets`]; none: the input gets one vector.
    pub spans: Option<Vec<(u32, u32)>>,
}

impl<I: Into<Input>> From<I> for EmbedInput {
    fn from(input: I) -> Self {
        Self { input: input.into(), spans: None }
    }
}

/// Which vectors to make.
#[derive(Debug, Clone, Default)]
pub struct EmbedOptions {
    /// Which layers; the last one by default.
    pub layers: Option<Layers>,
    /// How they become one.
    pub combine: Combine,
    /// How token vectors become one; by default as the model's files say, or else the mean.
    pub pool: Option<Pool>,
    /// Leaves special tokens such as `[CLS]` out of the pool.
    pub exclude_special_tokens: bool,
    /// Whether to make vectors unit length; by default as the model's files say, or else not.
    pub normalize: Option<bool>,
    /// Only so many of a vector's first numbers, taken before it is made unit length.
    pub truncate_dim: Option<usize>,
    /// What is put before each text; by default the model's default prompt, where its files name one.
    pub prompt: Option<Prompt>,
    /// What happens to a text that is too long.
    pub overflow: Overflow,
    /// The most tokens of a text; by default what the model's files say (`max_seq_length`), or else what the model takes.
    pub max_tokens: Option<usize>,
    /// How the vectors' numbers are stored.
    pub precision: Precision,
    /// What spans and the tokens' offsets count.
    pub offsets: OffsetUnit,
    /// Ends the call early.
    pub cancel: Cancel,
}

/// A text that is put before each input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// This.
    Text(String),
    /// That of this name in the model's files.
    Named(String),
}

impl Encoder {
    /// Computes vectors of texts or spans; no hidden state is kept. The same text has bit-equal numbers on the CPU whatever
    /// shares the call and however many threads there are.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::TooManyTokens`], [`Error::ModelUnsupported`] (a model whose files ask for a way of
    /// pooling that is not known) and [`Error::OutOfMemory`] before any work is done; [`Error::Cancelled`].
    pub fn embed(&self, inputs: &[EmbedInput], options: &EmbedOptions) -> Result<Embeddings> {
        self.prepare_embed(inputs, options)?.complete(self)
    }

    /// Does all of [`embed`](Self::embed) that comes before computing, for a [`Queue`](crate::Queue) to compute it with other calls.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub fn prepare_embed(&self, inputs: &[EmbedInput], options: &EmbedOptions) -> Result<Call<Embeddings>> {
        options.cancel.check()?;
        let sentence = self.sentence_config();
        let (pool, source) = pooling(options, sentence)?;
        let layers = self.embed_layers(options, pool)?;
        let (mix, layout) = options.combine.mix(&layers)?;
        let slots = if layout == Layout::RowFirst { mix.slots() } else { 1 };
        let dim = truncated(options.truncate_dim, slots * self.config().hidden_size())?;
        let limit = self.embed_limit(options)?;
        let prompt = prompt(options, sentence)?;
        for (text, EmbedInput { input, spans }) in inputs.iter().enumerate() {
            if let Some(spans) = spans {
                check_spans(text, input, spans, pool, source, options.offsets)?;
            }
        }

        let (tokens, skipped) = self.tokenize_with(prompt, inputs, options)?;
        let sequences = Sequences::new(tokens, limit, &options.overflow)?;
        let special = !options.exclude_special_tokens;
        let spans = inputs.iter().map(|input| input.spans.as_deref()).collect();
        let pooled = Pooled { pool, special, skipped, spans };
        let (num_layers, hidden_size) = (self.config().num_layers(), self.config().hidden_size());
        let (wanted, rest, starts) = match pool {
            Pool::Pooler => {
                let pooler = Some(sequences.pooler_plan()?);
                (
                    Wanted { mix: None, plan: None, layout, pooler, attentions: None },
                    Rest::Nothing,
                    (0..=inputs.len()).collect(),
                )
            }
            _ => {
                let groups = pooled.groups(&sequences)?;
                let reduce = if pool == Pool::Max { Reduce::Max } else { Reduce::Sum };
                let starts = groups.starts().to_vec();
                let (wanted, rest) =
                    Reduction { mix, layout, groups, reduce }.wanted(&sequences, None, num_layers, hidden_size)?;
                (wanted, rest, starts)
            }
        };
        let used = Used { pool, source, normalize: options.normalize.unwrap_or(sentence.normalize) };
        let (width, precision) = (slots * hidden_size, options.precision);
        let layers = (options.combine == Combine::None).then_some(layers);
        Call::new(self, sequences, wanted, &options.cancel, move |Sequences { tokens, cuts, .. }, written| {
            let Written { states, pooler, .. } = rest.apply(&tokens, written, hidden_size)?;
            let data = pooler.unwrap_or_else(|| states.into_vec());
            Embeddings::new(data, width, dim, precision, used, layers, starts, tokens, cuts)
        })
    }

    fn embed_layers(&self, options: &EmbedOptions, pool: Pool) -> Result<Vec<usize>> {
        let num_layers = self.config().num_layers();
        let layers = match &options.layers {
            Some(layers) => layers.resolve(num_layers)?,
            None => vec![num_layers],
        };
        if pool == Pool::Pooler {
            if !self.has_pooler() {
                return Err(Error::InvalidInput(
                    "this model has no pooler: choose another pool, such as 'mean'".into(),
                ));
            }
            let weighted = matches!(options.combine, Combine::Weights(_) | Combine::ScalarMix { .. });
            if layers != [num_layers] || weighted {
                return Err(Error::InvalidInput(
                    "pool 'pooler' is made of the last layer, as it is: leave layers and combine out".into(),
                ));
            }
        }
        Ok(layers)
    }

    fn embed_limit(&self, options: &EmbedOptions) -> Result<Limit> {
        let most = self.config().max_tokens();
        match (options.max_tokens, self.sentence_config().max_tokens) {
            (Some(tokens), _) if !(1..=most).contains(&tokens) => {
                Err(Error::InvalidInput(format!("maxTokens must be 1 to {most}, what this model takes, not {tokens}")))
            }
            (Some(tokens), _) => Ok(Limit { tokens, whose: "that maxTokens allows" }),
            (None, Some(tokens)) if tokens < most => Ok(Limit {
                tokens,
                whose: "that this model's vectors are made for (its max_seq_length; maxTokens allows more)",
            }),
            _ => Ok(self.limit()),
        }
    }

    /// The tokens of the inputs behind their prompt, with offsets into the inputs, and how many tokens of each are not pooled.
    fn tokenize_with(
        &self,
        prompt: &str,
        inputs: &[EmbedInput],
        options: &EmbedOptions,
    ) -> Result<(Tokens, Vec<usize>)> {
        let EmbedOptions { offsets, cancel, .. } = options;
        let behind = |(text, EmbedInput { input, .. }): (usize, &EmbedInput)| match input {
            input if prompt.is_empty() => Ok(input.clone()),
            Input::Text(text) => Ok(Input::Text(format!("{prompt}{text}"))),
            Input::Pair { text, pair } => Ok(Input::Pair { text: format!("{prompt}{text}"), pair: pair.clone() }),
            Input::Words(_) | Input::Ids { .. } => Err(Error::InvalidInput(format!(
                "text {text}: the prompt {prompt:?} can be put before a text only, not before words or ids: give the text, or an empty prompt"
            ))),
        };
        let inputs: Vec<Input> = inputs.iter().enumerate().map(behind).collect::<Result<_>>()?;
        let mut tokens = self.tokenize(&inputs, true, *offsets, cancel)?;
        if prompt.is_empty() {
            return Ok((tokens, Vec::new()));
        }
        let length = offsets.length(prompt);
        let mut skipped = vec![0; if self.sentence_config().exclude_prompt { tokens.texts() } else { 0 }];
        for text in 0..tokens.texts() {
            for (token, row) in tokens.rows(text).enumerate() {
                if tokens.sequence_ids[row] != Some(0) {
                    continue;
                }
                let (start, end) = &mut tokens.offsets[row];
                if let Some(skipped) = skipped.get_mut(text).filter(|_| *start < length) {
                    *skipped = token + 1; // special tokens before the prompt with it, as sentence-transformers does
                }
                (*start, *end) = (start.saturating_sub(length), end.saturating_sub(length));
            }
        }
        Ok((tokens, skipped))
    }
}

/// How to pool, and who says so.
fn pooling(options: &EmbedOptions, sentence: &SentenceConfig) -> Result<(Pool, PoolingSource)> {
    let (pool, source) = match (options.pool, &sentence.pooling) {
        (Some(pool), _) => (pool, PoolingSource::Option),
        (None, Some(Pooling::Known(pool))) => (*pool, PoolingSource::Model),
        (None, Some(Pooling::Unknown(what))) => {
            return Err(Error::ModelUnsupported(format!(
                "this model makes its vectors in a way that is not supported: {what}. Name a pool, such as 'mean', for vectors without that"
            )));
        }
        (None, None) => (Pool::Mean, PoolingSource::Default),
    };
    if options.exclude_special_tokens && matches!(pool, Pool::Cls | Pool::Pooler) {
        return Err(Error::InvalidInput(format!(
            "pool '{}' is a special token's: it cannot leave them out",
            pool.name()
        )));
    }
    Ok((pool, source))
}

fn prompt<'a>(options: &'a EmbedOptions, sentence: &'a SentenceConfig) -> Result<&'a str> {
    let name = match &options.prompt {
        Some(Prompt::Text(text)) => return Ok(text),
        Some(Prompt::Named(name)) => name,
        None => match &sentence.default_prompt {
            Some(name) => name,
            None => return Ok(""),
        },
    };
    let named = sentence.prompts.iter().find(|(known, _)| known == name);
    named.map(|(_, text)| text.as_str()).ok_or_else(|| {
        let names: Vec<_> = sentence.prompts.iter().map(|(name, _)| format!("'{name}'")).collect();
        let there = if names.is_empty() { "none".into() } else { names.join(", ") };
        Error::InvalidInput(format!(
            "this model has no prompt '{name}'; it has {there}. A text of your own goes in prompt"
        ))
    })
}

fn truncated(dim: Option<usize>, width: usize) -> Result<usize> {
    match dim {
        Some(dim) if !(1..=width).contains(&dim) => {
            Err(Error::InvalidInput(format!("truncateDim must be 1 to {width}, the length of a vector, not {dim}")))
        }
        Some(dim) => Ok(dim),
        None => Ok(width),
    }
}

fn check_spans(
    text: usize,
    input: &Input,
    spans: &[(u32, u32)],
    pool: Pool,
    source: PoolingSource,
    unit: OffsetUnit,
) -> Result<()> {
    let invalid = |message: String| Err(Error::InvalidInput(format!("text {text}: {message}")));
    let Input::Text(whole) = input else {
        return invalid("spans are of a single text, not of a pair, of words or of ids".into());
    };
    if matches!(pool, Pool::Cls | Pool::Pooler) {
        let who = if source == PoolingSource::Option { "" } else { ", which this model's files ask for," };
        return invalid(format!(
            "pool '{}'{who} is of a whole text: for spans name another, such as 'mean'",
            pool.name()
        ));
    }
    if spans.is_empty() {
        return invalid("spans is empty: give at least one, or leave it out for a vector of the whole text".into());
    }
    let length = unit.length(whole);
    match spans.iter().position(|&(start, end)| start >= end || end > length) {
        Some(span) => {
            let (start, end) = spans[span];
            invalid(format!(
                "span {span}, [{start}, {end}], is not within the text: it must have 0 ≤ start < end ≤ {length}"
            ))
        }
        None => Ok(()),
    }
}
