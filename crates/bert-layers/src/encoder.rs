//! Load and encode.

use std::path::Path;
use std::sync::Arc;

use bert_layers_kernels::{Crew, Team};

use crate::backend::Backend;
use crate::call::Call;
use crate::config::{ModelConfig, SentenceConfig};
use crate::device::DeviceChoice;
use crate::fold::{Mix, Reduce};
use crate::groups::Groups;
use crate::hidden_states::{HiddenStates, Parts};
use crate::last_layer::LastLayer;
use crate::layers::Layers;
use crate::loaded::Loaded;
use crate::locate::{Search, locate};
use crate::output::{Layout, Wanted, Written};
use crate::overflow::Overflow;
use crate::reduce::{Reduction, Rest};
use crate::sequences::{Limit, Sequences};
use crate::tokenize::{self, Input, OffsetUnit, Tokenizer, Tokens, tokenize};
use crate::words::{WordPool, Words};
use crate::{Cancel, Dtype, Error, Result, attentions, threads};

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// In which precision.
    pub dtype: Dtype,
    /// Where a name is looked up.
    pub search: Search,
    /// How many threads compute; by default as many as the process may use.
    pub threads: Option<usize>,
    /// What the last layer is, for a family with a norm after its last block.
    pub last_layer: LastLayer,
    /// Ends the loading early.
    pub cancel: Cancel,
}

/// What to compute.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// Which layers are kept. The encoder stops after the deepest of them.
    pub layers: Layers,
    /// Whether the tokenizer adds its special tokens, such as `[CLS]` and `[SEP]`.
    pub add_special_tokens: bool,
    /// Whether to compute the pooler's output too.
    pub pooler: bool,
    /// Whether to keep the attention weights of the kept layers' blocks too.
    pub attentions: bool,
    /// What happens to a text that is too long.
    pub overflow: Overflow,
    /// Makes rows words instead of tokens.
    pub words: Option<WordPool>,
    /// What the tokens' offsets count.
    pub offsets: OffsetUnit,
    /// Ends the call early.
    pub cancel: Cancel,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            layers: Layers::All,
            add_special_tokens: true,
            pooler: false,
            attentions: false,
            overflow: Overflow::Error,
            words: None,
            offsets: OffsetUnit::Byte,
            cancel: Cancel::new(),
        }
    }
}

/// A loaded encoder. Clones share the model.
///
/// ```no_run
/// use bert_layers::{EncodeOptions, Encoder, LoadOptions};
///
/// let bert = Encoder::from_pretrained("models/all-minilm-l6-v2", &LoadOptions::default())?;
/// let states = bert.encode(&["你好，世界！".into()], &EncodeOptions::default())?;
/// for &layer in states.layers() {
///     println!("layer {layer}: {:?}", states.get(layer, 0));
/// }
/// # Ok::<(), bert_layers::Error>(())
/// ```
#[derive(Clone)]
pub struct Encoder {
    model: Arc<Loaded>,
    crew: Arc<Crew>,
}

impl Encoder {
    /// Loads a model by folder or name. A model that this process holds already is shared, not loaded again.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`], [`Error::ModelInvalid`], [`Error::ModelUnsupported`], [`Error::DeviceUnavailable`],
    /// [`Error::InvalidInput`] for a [`last_layer`](LoadOptions::last_layer) that the family does not have, [`Error::Cancelled`].
    pub fn from_pretrained(model: &str, options: &LoadOptions) -> Result<Self> {
        let crew = threads::chosen_crew(options.threads)?;
        let folder = locate(model, &options.search)?;
        Ok(Self { model: Loaded::shared(&folder, options, &crew)?, crew })
    }

    /// Computes the hidden states of texts. The same text has bit-equal numbers on the CPU whatever shares the call,
    /// whichever layers are asked for and however many threads there are.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::TooManyTokens`] and [`Error::OutOfMemory`] before any work is done;
    /// [`Error::Cancelled`].
    pub fn encode(&self, inputs: &[Input], options: &EncodeOptions) -> Result<HiddenStates> {
        self.prepare(inputs, options)?.complete(self)
    }

    /// Does all of [`encode`](Self::encode) that comes before computing, for a [`Queue`](crate::Queue) to compute it with other calls.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn prepare(&self, inputs: &[Input], options: &EncodeOptions) -> Result<Call<HiddenStates>> {
        options.cancel.check()?;
        let config = &self.model.config;
        let (num_layers, hidden_size) = (config.num_layers(), config.hidden_size());
        let layers = options.layers.resolve(num_layers)?;
        if options.pooler && !self.has_pooler() {
            return Err(Error::InvalidInput("this model has no pooler: leave the option out".into()));
        }
        if options.attentions && layers.iter().all(|&layer| layer == 0) {
            return Err(Error::InvalidInput(
                "layer 0, the embedding output, has no attention: keep a layer from 1 on, or leave attentions out"
                    .into(),
            ));
        }
        let tokens = self.tokenize(inputs, options.add_special_tokens, options.offsets, &options.cancel)?;
        let sequences = Sequences::new(tokens, self.limit(), &options.overflow)?;
        let words = match options.words {
            Some(pool) => {
                let words = Words::of(&sequences.tokens, inputs, |text| sequences.is_whole(text))?;
                Some((pool, words))
            }
            None => None,
        };
        let attentions = match options.attentions {
            true if !sequences.as_they_are() => {
                return Err(Error::InvalidInput(
                    "a text in several windows has no attention of its own: leave attentions out, or choose another overflow"
                        .into(),
                ));
            }
            true => Some(attentions::Shape::new(&sequences.tokens, &layers, config.num_heads())),
            false => None,
        };
        let pooler = if options.pooler { Some(sequences.pooler_plan()?) } else { None };
        let (mix, layout) = (Mix::Each(layers.clone()), Layout::LayerFirst);
        let (mut wanted, rest) = match &words {
            // The rows are the encoder's own: they are written in place.
            None if sequences.as_they_are() => {
                (Wanted { mix: Some(mix), plan: None, layout, pooler, attentions: None }, Rest::Nothing)
            }
            None => {
                let groups = Groups::tokens(&sequences.tokens.starts);
                let rows = Reduction { mix, layout, groups, reduce: Reduce::Sum };
                rows.wanted(&sequences, pooler, num_layers, hidden_size)?
            }
            Some((pool, words)) => {
                let reduce = if *pool == WordPool::Max { Reduce::Max } else { Reduce::Sum };
                let rows = Reduction { mix, layout, groups: words.groups(*pool), reduce };
                rows.wanted(&sequences, pooler, num_layers, hidden_size)?
            }
        };
        wanted.attentions = attentions;
        let words = words.map(|(_, words)| words);
        Call::new(self, sequences, wanted, &options.cancel, move |Sequences { tokens, cuts, .. }, written| {
            let Written { states: data, pooler: pooler_output, attentions } =
                rest.apply(&tokens, written, hidden_size)?;
            Ok(HiddenStates::new(Parts { data, layers, tokens, pooler_output, attentions, words, cuts }, hidden_size))
        })
    }

    /// The most tokens that the model takes.
    pub(crate) fn limit(&self) -> Limit {
        Limit { tokens: self.model.config.max_tokens(), whose: "this model takes" }
    }

    /// What computes.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.model.backend
    }

    /// The threads.
    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// How many tokens a batch needs to keep the device busy.
    pub fn batch_tokens(&self) -> usize {
        self.backend().batch_tokens(self.threads())
    }

    /// The tokens that [`encode`](Self::encode) would compute, without a limit on their number. `cancel` is read between texts.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::Cancelled`].
    pub fn tokenize(
        &self,
        inputs: &[Input],
        add_special_tokens: bool,
        offsets: OffsetUnit,
        cancel: &Cancel,
    ) -> Result<Tokens> {
        if inputs.is_empty() {
            return Err(Error::InvalidInput("there is nothing to encode: give at least one text".into()));
        }
        let tokenizer = self.model.tokenizer.as_deref();
        if tokenizer.is_none() && inputs.iter().any(|input| !matches!(input, Input::Ids { .. })) {
            return Err(Error::InvalidInput(tokenize::missing(self.folder())));
        }
        let mut tokens = tokenize(&self.crew, tokenizer, inputs, add_special_tokens, offsets, cancel)?;
        if self.model.config.type_vocab_size() == 1 {
            // As in Transformers, a family without token types does without those of its tokenizer. Given ones are checked.
            for text in (0..inputs.len()).filter(|&text| !matches!(inputs[text], Input::Ids { .. })) {
                let rows = tokens.rows(text);
                tokens.type_ids[rows].fill(0);
            }
        }
        self.check_ids(&tokens)?;
        Ok(tokens)
    }

    /// Whether the model has these ids.
    fn check_ids(&self, tokens: &Tokens) -> Result<()> {
        let config = &self.model.config;
        let check = |name: &str, ids: &[u32], count: usize| {
            let Some(row) = ids.iter().position(|&id| id as usize >= count) else { return Ok(()) };
            let text = tokens.starts.partition_point(|&start| start <= row) - 1;
            Err(Error::InvalidInput(format!(
                "text {text}, token {}: {name} {} is out of range, this model has 0 to {}",
                row - tokens.starts[text],
                ids[row],
                count - 1
            )))
        };
        check("id", &tokens.ids, config.vocab_size())?;
        check("type id", &tokens.type_ids, config.type_vocab_size())
    }

    /// What the model's sentence-transformers files say.
    pub fn sentence_config(&self) -> &SentenceConfig {
        &self.model.sentence
    }

    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Whether the checkpoint has a pooler.
    pub fn has_pooler(&self) -> bool {
        self.model.backend.has_pooler()
    }

    /// The tokenizer, if the model's folder has one.
    pub fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        self.model.tokenizer.as_ref()
    }

    /// The device in use, such as "cpu" or "cuda:0".
    pub fn device(&self) -> &str {
        &self.model.device
    }

    /// The precision in use.
    pub fn dtype(&self) -> Dtype {
        self.model.dtype
    }

    /// A hash of weights, tokenizer, configuration, dtype, device, instruction set and the version of our arithmetic: two
    /// encoders with the same fingerprint give the same numbers. What a cache keys on.
    pub fn fingerprint(&self) -> &str {
        &self.model.fingerprint
    }

    /// The folder that was loaded.
    pub fn folder(&self) -> &Path {
        &self.model.folder
    }

    /// Bytes that the weights take in memory; encoders of the same model share them.
    pub fn weight_bytes(&self) -> u64 {
        self.model.weight_bytes
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.crew.threads()
    }

    /// The instruction set that the kernels use, such as "avx512".
    pub fn instruction_set(&self) -> &'static str {
        self.model.backend.instruction_set()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("folder", &self.folder())
            .field("device", &self.device())
            .field("dtype", &self.dtype())
            .finish_non_exhaustive()
    }
}
