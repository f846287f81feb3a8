//! The encoder as JavaScript sees it.

use std::sync::Arc;

use bert_layers::{
    Call, Dtype, EncodeOptions, Encoder, Error, HiddenStates, Input, Layers, LoadOptions, OffsetUnit, Parts, Result,
    Search, Tokenizer,
};
use napi::Env;
use napi::bindgen_prelude::{Float32Array, Object, ObjectFinalize, Uint32Array};
use napi_derive::napi;

use crate::buffer::typed_array;
use crate::calls::Calls;
use crate::cancel::CancelFlag;
use crate::error::{NativeError, outcome};
use crate::input::{NativeInput, inputs};
use crate::overflow::{NativeCuts, NativeOverflow};
use crate::queue::{Answer, Queue, promise};
use crate::tokens::NativeTokens;
use crate::words::{NativeWords, word_pool};

/// What to load; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct LoadRequest {
    pub model: String,
    pub package_folders: Vec<String>,
    pub device: String,
    pub dtype: String,
    pub last_layer: String,
    pub revision: Option<String>,
    pub cache_dir: Option<String>,
    pub threads: Option<u32>,
}

/// What to compute; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct EncodeRequest {
    pub layers: Option<Vec<i64>>,
    pub add_special_tokens: bool,
    pub pooler: bool,
    pub attentions: bool,
    pub overflow: NativeOverflow,
    pub words: Option<String>,
}

impl EncodeRequest {
    fn options(self, cancel: &CancelFlag) -> Result<EncodeOptions> {
        Ok(EncodeOptions {
            layers: self.layers.map_or(Layers::All, Layers::List),
            add_special_tokens: self.add_special_tokens,
            pooler: self.pooler,
            attentions: self.attentions,
            overflow: self.overflow.try_into()?,
            words: self.words.as_deref().map(word_pool).transpose()?,
            offsets: OffsetUnit::Utf16,
            cancel: cancel.inner.clone(),
        })
    }
}

/// The model's sizes.
#[napi(object, object_from_js = false)]
pub struct NativeConfig {
    pub model_type: String,
    pub num_layers: u32,
    pub hidden_size: u32,
    pub num_heads: u32,
    pub vocab_size: u32,
    pub max_tokens: u32,
    pub has_pooler: bool,
}

impl NativeConfig {
    pub fn new(config: &bert_layers::ModelConfig, has_pooler: bool) -> Self {
        Self {
            model_type: config.model_type().into(),
            num_layers: config.num_layers() as u32,
            hidden_size: config.hidden_size() as u32,
            num_heads: config.num_heads() as u32,
            vocab_size: config.vocab_size() as u32,
            max_tokens: config.max_tokens() as u32,
            has_pooler,
        }
    }
}

/// The result; its buffers are the engine's own.
#[napi(object, object_from_js = false)]
pub struct NativeHiddenStates {
    pub data: Float32Array,
    pub layers: Vec<u32>,
    pub pooler_output: Option<Float32Array>,
    pub attentions: Option<Float32Array>,
    pub tokens: NativeTokens,
    pub words: Option<NativeWords>,
    pub cuts: NativeCuts,
}

impl From<HiddenStates> for NativeHiddenStates {
    fn from(states: HiddenStates) -> Self {
        let Parts { data, layers, tokens, pooler_output, attentions, words, cuts } = states.into_parts();
        Self {
            data: typed_array(data),
            layers: layers.into_iter().map(|layer| layer as u32).collect(),
            pooler_output: pooler_output.map(Float32Array::new),
            attentions: attentions.map(|attentions| Float32Array::new(attentions.into_data())),
            tokens: tokens.into(),
            words: words.map(NativeWords::from),
            cuts: cuts.into(),
        }
    }
}

outcome!(
    /// An encoder, or why there is none.
    LoadOutcome,
    NativeEncoder
);
outcome!(
    /// Hidden states, or why there are none.
    EncodeOutcome,
    NativeHiddenStates
);
outcome!(
    /// Tokens, or why there are none.
    TokenizeOutcome,
    NativeTokens
);
outcome!(
    /// A text, or why there is none.
    DecodeOutcome,
    String
);
outcome!(
    /// Nothing, or why not.
    VoidOutcome,
    ()
);

impl Answer for EncodeOutcome {}
impl Answer for TokenizeOutcome {}
impl Answer for VoidOutcome {}

impl Answer for LoadOutcome {
    /// Tells V8 what the weights take outside its heap, so that an encoder nobody disposed of is collected in time.
    fn arrive(&mut self, env: &Env) -> napi::Result<()> {
        if let Some(encoder) = &mut self.value {
            env.adjust_external_memory(encoder.weight_bytes)?;
            encoder.accounted = encoder.weight_bytes;
        }
        Ok(())
    }
}

/// A loaded encoder, until it is disposed of.
#[napi(custom_finalize)]
pub struct NativeEncoder {
    /// None after `dispose`.
    queues: Option<Queues>,
    /// Kept beyond `dispose`, for the tokens of results that are still there.
    tokenizer: Option<Arc<Tokenizer>>,
    weight_bytes: i64,
    /// What V8 was told that this object holds.
    accounted: i64,
    about: About,
}

/// Two threads: who only wants tokens does not wait behind whole texts being computed.
struct Queues {
    calls: Calls,
    tokenize: Queue<Encoder>,
}

/// What never changes, kept where no thread is needed to ask for it.
struct About {
    config: bert_layers::ModelConfig,
    has_pooler: bool,
    device: String,
    dtype: Dtype,
    fingerprint: String,
    folder: String,
    threads: u32,
    batch_tokens: u32,
    instruction_set: &'static str,
    prompt_names: Vec<String>,
    notices: Vec<String>,
}

impl NativeEncoder {
    fn new(encoder: Encoder) -> Result<Self> {
        Ok(Self {
            tokenizer: encoder.tokenizer().cloned(),
            weight_bytes: encoder.weight_bytes() as i64,
            accounted: 0,
            about: About {
                config: encoder.config().clone(),
                has_pooler: encoder.has_pooler(),
                device: encoder.device().into(),
                dtype: encoder.dtype(),
                fingerprint: encoder.fingerprint().into(),
                folder: encoder.folder().display().to_string(),
                threads: encoder.threads() as u32,
                batch_tokens: encoder.batch_tokens() as u32,
                instruction_set: encoder.instruction_set(),
                prompt_names: encoder.sentence_config().prompts.iter().map(|(name, _)| name.clone()).collect(),
                notices: bert_layers::disagreements(encoder.folder(), encoder.config()),
            },
            queues: Some(Queues { tokenize: Queue::start(encoder.clone())?, calls: Calls::start(encoder)? }),
        })
    }
}

/// Loads a model.
#[napi]
pub fn load_encoder<'env>(env: &'env Env, request: LoadRequest, cancel: &CancelFlag) -> napi::Result<Object<'env>> {
    let cancel = cancel.inner.clone();
    promise::<LoadOutcome, _>(env, move || {
        let options = LoadOptions {
            device: request.device.parse()?,
            dtype: request.dtype.parse()?,
            search: Search {
                revision: request.revision,
                cache_dir: request.cache_dir.map(Into::into),
                package_folders: request.package_folders.into_iter().map(Into::into).collect(),
            },
            threads: request.threads.map(|threads| threads as usize),
            last_layer: request.last_layer.parse()?,
            cancel,
        };
        NativeEncoder::new(Encoder::from_pretrained(&request.model, &options)?)
    })
}

/// Runs a job that panics. For tests.
#[napi]
pub fn panic_for_test(env: &Env) -> napi::Result<Object<'_>> {
    promise::<VoidOutcome, ()>(env, || panic!("a panic for a test"))
}

#[napi]
impl NativeEncoder {
    /// Computes hidden states.
    #[napi]
    pub fn encode<'env>(
        &self,
        env: &'env Env,
        texts: Vec<NativeInput>,
        request: EncodeRequest,
        cancel: &CancelFlag,
    ) -> napi::Result<Object<'env>> {
        let texts = inputs(texts);
        let options = request.options(cancel);
        let tokens = texts.iter().flatten().map(Input::estimate).sum();
        self.call::<EncodeOutcome, _, _>(env, tokens, cancel, move |encoder| encoder.prepare(&texts?, &options?))
    }

    /// Only the tokens.
    #[napi]
    pub fn tokenize<'env>(
        &self,
        env: &'env Env,
        texts: Vec<NativeInput>,
        add_special_tokens: bool,
        cancel: &CancelFlag,
    ) -> napi::Result<Object<'env>> {
        let (texts, cancel) = (inputs(texts), cancel.inner.clone());
        let Some(Queues { tokenize, .. }) = &self.queues else { return disposed::<TokenizeOutcome, _>(env) };
        tokenize.promise::<TokenizeOutcome, _>(env, move |encoder| {
            Ok(encoder.tokenize(&texts?, add_special_tokens, OffsetUnit::Utf16, &cancel)?.into())
        })
    }

    /// What the vocabulary calls these ids; an id that it lacks is an empty string.
    #[napi]
    pub fn ids_to_tokens(&self, ids: Uint32Array) -> Option<Vec<String>> {
        let tokenizer = self.tokenizer.as_ref()?;
        Some(ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap_or_default()).collect())
    }

    /// Ids back to text.
    #[napi]
    pub fn decode(&self, ids: Uint32Array, skip_special_tokens: bool) -> DecodeOutcome {
        let tokenizer = self
            .tokenizer
            .as_ref()
            .ok_or_else(|| Error::InvalidInput(bert_layers::tokenize::missing(self.about.folder.as_ref())));
        tokenizer.and_then(|tokenizer| tokenizer.decode(&ids, skip_special_tokens)).into()
    }

    /// Takes no more calls, and lets the weights go after those in flight.
    #[napi]
    pub fn dispose<'env>(&mut self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.release(env)?;
        match self.queues.take() {
            Some(Queues { calls, tokenize }) => calls.close::<VoidOutcome>(env, || tokenize.finish()),
            None => promise::<VoidOutcome, ()>(env, || Ok(())),
        }
    }

    #[napi(getter)]
    pub fn config(&self) -> NativeConfig {
        NativeConfig::new(&self.about.config, self.about.has_pooler)
    }

    #[napi(getter)]
    pub fn device(&self) -> &str {
        &self.about.device
    }

    #[napi(getter)]
    pub fn dtype(&self) -> String {
        self.about.dtype.to_string()
    }

    #[napi(getter)]
    pub fn fingerprint(&self) -> &str {
        &self.about.fingerprint
    }

    #[napi(getter)]
    pub fn folder(&self) -> &str {
        &self.about.folder
    }

    #[napi(getter)]
    pub fn threads(&self) -> u32 {
        self.about.threads
    }

    /// The prompts of the model's files.
    #[napi(getter)]
    pub fn prompt_names(&self) -> Vec<String> {
        self.about.prompt_names.clone()
    }

    /// What who loads the model should know.
    #[napi(getter)]
    pub fn notices(&self) -> Vec<String> {
        self.about.notices.clone()
    }

    #[napi(getter)]
    pub fn batch_tokens(&self) -> u32 {
        self.about.batch_tokens
    }

    #[napi(getter)]
    pub fn instruction_set(&self) -> &str {
        self.about.instruction_set
    }
}

impl ObjectFinalize for NativeEncoder {
    fn finalize(mut self, env: Env) -> napi::Result<()> {
        self.release(&env)
    }
}

impl NativeEncoder {
    /// Tells V8 that the weights are no longer this object's.
    fn release(&mut self, env: &Env) -> napi::Result<()> {
        env.adjust_external_memory(-std::mem::take(&mut self.accounted)).map(drop)
    }

    /// Queues a call of about `tokens` tokens.
    pub(crate) fn call<'env, T, V, C>(
        &self,
        env: &'env Env,
        tokens: usize,
        cancel: &CancelFlag,
        prepare: impl FnOnce(&Encoder) -> Result<Call<C>> + Send + 'static,
    ) -> napi::Result<Object<'env>>
    where
        T: Answer + From<Result<V>>,
        V: Send + From<C> + 'static,
        C: 'static,
    {
        match &self.queues {
            Some(Queues { calls, .. }) => calls.promise::<T, V, C>(env, tokens, cancel.inner.clone(), prepare),
            None => disposed::<T, V>(env),
        }
    }
}

fn disposed<T, V>(env: &Env) -> napi::Result<Object<'_>>
where
    T: Answer + From<Result<V>>,
    V: Send + 'static,
{
    promise::<T, V>(env, || Err(Error::Disposed))
}
