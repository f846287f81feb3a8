//! Load and encode.

use std::path::Path;
use std::sync::Arc;

use bert_layers_kernels::{Crew, Team};

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::device::DeviceChoice;
use crate::hidden_states::{HiddenStates, Output};
use crate::layers::Layers;
use crate::loaded::Loaded;
use crate::locate::{Search, locate};
use crate::tokenize::{Input, OffsetUnit, Tokenizer, Tokens, tokenize};
use crate::{Cancel, Dtype, Error, Result, threads};

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
    /// [`Error::Cancelled`].
    pub fn from_pretrained(model: &str, options: &LoadOptions) -> Result<Self> {
        let crew = threads::chosen_crew(options.threads)?;
        let folder = locate(model, &options.search)?;
        Ok(Self { model: Loaded::shared(&folder, options.device, options.dtype, &options.cancel)?, crew })
    }

    /// Computes the hidden states of texts. The same text has bit-equal numbers on the CPU whatever shares the call,
    /// whichever layers are asked for and however many threads there are.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::TooManyTokens`] and [`Error::OutOfMemory`] before any work is done;
    /// [`Error::Cancelled`].
    pub fn encode(&self, inputs: &[Input], options: &EncodeOptions) -> Result<HiddenStates> {
        options.cancel.check()?;
        let config = &self.model.config;
        let layers = options.layers.resolve(config.num_layers())?;
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
        for text in 0..tokens.texts() {
            let (tokens, limit) = (tokens.rows(text).len(), config.max_tokens());
            if tokens > limit {
                return Err(Error::TooManyTokens { text, tokens, limit });
            }
        }
        let mut out = Output::allocate(&tokens, layers, config, options.pooler, options.attentions)?;
        let batch = PackedBatch::new(&tokens);
        self.model.backend.run(&batch, &mut out, &self.crew, &options.cancel)?;
        Ok(out.finish(tokens))
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
        let tokens = tokenize(&self.crew, tokenizer, inputs, add_special_tokens, offsets, cancel)?;
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
