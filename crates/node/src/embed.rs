//! Vectors of texts and spans.

use bert_layers::{
    Combine, EmbedInput, EmbedOptions, Embeddings, Error, Layers, OffsetUnit, Pool, PoolingSource, Precision, Prompt,
    Result, Vectors,
};
use napi::Env;
use napi::bindgen_prelude::{Float32Array, Int8Array, Object, Uint8Array, Uint16Array, Uint32Array};
use napi_derive::napi;

use crate::cancel::CancelFlag;
use crate::encoder::NativeEncoder;
use crate::error::{NativeError, outcome};
use crate::input::NativeInput;
use crate::overflow::{NativeCuts, NativeOverflow};
use crate::queue::Answer;
use crate::tokens::NativeTokens;

/// Which vectors to make; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct EmbedRequest {
    pub layers: Option<Vec<i64>>,
    pub all_layers: bool,
    pub combine: String,
    pub weights: Option<Vec<f64>>,
    pub gamma: Option<f64>,
    pub pool: Option<String>,
    pub include_special_tokens: bool,
    pub normalize: Option<bool>,
    pub truncate_dim: Option<u32>,
    pub prompt: Option<String>,
    pub prompt_name: Option<String>,
    pub overflow: NativeOverflow,
    pub max_tokens: Option<u32>,
    pub precision: String,
}

/// Vectors; exactly one of the columns of numbers is there.
#[napi(object, object_from_js = false)]
pub struct NativeEmbeddings {
    pub float32: Option<Float32Array>,
    pub float16: Option<Uint16Array>,
    pub int8: Option<Int8Array>,
    pub scales: Option<Float32Array>,
    pub binary: Option<Uint8Array>,
    pub dim: u32,
    pub layers: Option<Vec<u32>>,
    pub starts: Uint32Array,
    pub pool: String,
    pub source: String,
    pub normalized: bool,
    pub tokens: NativeTokens,
    pub cuts: NativeCuts,
}

outcome!(
    /// Vectors, or why there are none.
    EmbedOutcome,
    NativeEmbeddings
);
impl Answer for EmbedOutcome {}

impl From<Embeddings> for NativeEmbeddings {
    fn from(embeddings: Embeddings) -> Self {
        let Embeddings { vectors, dim, layers, starts, used, tokens, cuts } = embeddings;
        let source = match used.source {
            PoolingSource::Option => "option",
            PoolingSource::Model => "model",
            PoolingSource::Default => "default",
        };
        let mut native = Self {
            float32: None,
            float16: None,
            int8: None,
            scales: None,
            binary: None,
            dim: dim as u32,
            layers: layers.map(|layers| layers.into_iter().map(|layer| layer as u32).collect()),
            starts: Uint32Array::new(starts.into_iter().map(|start| start as u32).collect()),
            pool: used.pool.name().into(),
            source: source.into(),
            normalized: used.normalize,
            tokens: tokens.into(),
            cuts: cuts.into(),
        };
        match vectors {
            Vectors::Float32(data) => native.float32 = Some(Float32Array::new(data)),
            Vectors::Float16(data) => native.float16 = Some(Uint16Array::new(data)),
            Vectors::Int8 { data, scales } => {
                (native.int8, native.scales) = (Some(Int8Array::new(data)), Some(Float32Array::new(scales)));
            }
            Vectors::Binary(data) => native.binary = Some(Uint8Array::new(data)),
        }
        native
    }
}

impl EmbedRequest {
    fn options(self, cancel: &CancelFlag) -> Result<EmbedOptions> {
        let unknown = |what: &str, name: &str| Error::InvalidInput(format!("there is no {what} '{name}'"));
        let weights = || self.weights.iter().flatten().map(|&weight| weight as f32).collect();
        let combine = match self.combine.as_str() {
            "mean" => Combine::Mean,
            "sum" => Combine::Sum,
            "max" => Combine::Max,
            "concat" => Combine::Concat,
            "none" => Combine::None,
            "weights" => Combine::Weights(weights()),
            "scalarMix" => Combine::ScalarMix { scalars: weights(), gamma: self.gamma.unwrap_or(1.0) as f32 },
            other => return Err(unknown("combine", other)),
        };
        let pool = |name: String| {
            let known = Pool::NAMES.iter().find(|(known, _)| *known == name);
            known.map(|(_, pool)| *pool).ok_or_else(|| unknown("pool", &name))
        };
        let precision = match self.precision.as_str() {
            "float32" => Precision::Float32,
            "float16" => Precision::Float16,
            "int8" => Precision::Int8,
            "binary" => Precision::Binary,
            other => return Err(unknown("precision", other)),
        };
        Ok(EmbedOptions {
            layers: if self.all_layers { Some(Layers::All) } else { self.layers.map(Layers::List) },
            combine,
            pool: self.pool.map(pool).transpose()?,
            exclude_special_tokens: !self.include_special_tokens,
            normalize: self.normalize,
            truncate_dim: self.truncate_dim.map(|dim| dim as usize),
            prompt: self.prompt.map(Prompt::Text).or(self.prompt_name.map(Prompt::Named)),
            overflow: self.overflow.try_into()?,
            max_tokens: self.max_tokens.map(|tokens| tokens as usize),
            precision,
            offsets: OffsetUnit::Utf16,
            cancel: cancel.inner.clone(),
        })
    }
}

/// An input and its spans.
fn embed_input(mut input: NativeInput) -> Result<EmbedInput> {
    let spans = input.spans.take().map(|spans| spans.as_chunks().0.iter().map(|&[start, end]| (start, end)).collect());
    Ok(EmbedInput { input: input.try_into()?, spans })
}

#[napi]
impl NativeEncoder {
    /// Makes vectors.
    #[napi]
    pub fn embed<'env>(
        &self,
        env: &'env Env,
        texts: Vec<NativeInput>,
        request: EmbedRequest,
        cancel: &CancelFlag,
    ) -> napi::Result<Object<'env>> {
        let texts: Result<Vec<EmbedInput>> = texts.into_iter().map(embed_input).collect();
        let options = request.options(cancel);
        let tokens = texts.iter().flatten().map(|text| text.input.estimate()).sum();
        self.call::<EmbedOutcome, _, _>(env, tokens, cancel, move |encoder| encoder.prepare_embed(&texts?, &options?))
    }
}
