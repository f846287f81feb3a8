//! What is done with a model's files without loading it: inspect and convert.

use bert_layers::{
    Conversion, ConvertOptions, Inspection, RemoteFile, Search, WeightsFound, convert, inspect, inspect_remote,
};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::cancel::CancelFlag;
use crate::encoder::NativeConfig;
use crate::error::{NativeError, outcome};
use crate::queue::{Answer, promise};

/// Which model; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct FilesRequest {
    pub model: String,
    pub package_folders: Vec<String>,
    pub revision: Option<String>,
    pub cache_dir: Option<String>,
}

impl From<FilesRequest> for (String, Search) {
    fn from(request: FilesRequest) -> Self {
        let search = Search {
            revision: request.revision,
            cache_dir: request.cache_dir.map(Into::into),
            package_folders: request.package_folders.into_iter().map(Into::into).collect(),
        };
        (request.model, search)
    }
}

/// What a model is; see ts/binding.ts.
#[napi(object, object_from_js = false)]
pub struct NativeInspection {
    pub folder: String,
    pub model_type: Option<String>,
    pub config: Option<NativeConfig>,
    pub weights: Vec<NativeWeights>,
    pub parameters: f64,
    pub head_parameters: f64,
    pub heads: Vec<String>,
    pub tokenizer: Option<NativeTokenizer>,
    pub pooling: Option<String>,
    pub pooling_files: Vec<String>,
    pub memory: Vec<NativeMemory>,
    pub instruction_set: String,
    pub notices: Vec<String>,
}

/// Weights in one format.
#[napi(object, object_from_js = false)]
pub struct NativeWeights {
    pub format: String,
    pub file: String,
    pub bytes: f64,
    pub tensors: Option<u32>,
    pub dtypes: Vec<NativeCount>,
}

/// Values stored in a type.
#[napi(object, object_from_js = false)]
pub struct NativeCount {
    pub dtype: String,
    pub values: f64,
}

/// Bytes in a precision.
#[napi(object, object_from_js = false)]
pub struct NativeMemory {
    pub dtype: String,
    pub bytes: f64,
}

/// A tokenizer.
#[napi(object, object_from_js = false)]
pub struct NativeTokenizer {
    pub file: String,
    pub kind: String,
    pub tokens: u32,
}

impl From<WeightsFound> for NativeWeights {
    fn from(found: WeightsFound) -> Self {
        let WeightsFound { format, file, bytes, tensors, dtypes } = found;
        Self {
            format: format.to_string(),
            file,
            bytes: bytes as f64,
            tensors: tensors.map(|count| count as u32),
            dtypes: dtypes.into_iter().map(|(dtype, values)| NativeCount { dtype, values: values as f64 }).collect(),
        }
    }
}

impl From<Inspection> for NativeInspection {
    fn from(seen: Inspection) -> Self {
        Self {
            folder: seen.folder.display().to_string(),
            model_type: seen.model_type,
            config: seen.config.map(|config| NativeConfig::new(&config, seen.has_pooler)),
            weights: seen.weights.into_iter().map(Into::into).collect(),
            parameters: seen.parameters as f64,
            head_parameters: seen.head_parameters as f64,
            heads: seen.heads,
            tokenizer: seen.tokenizer.map(|found| NativeTokenizer {
                file: found.file.into(),
                kind: found.kind.into(),
                tokens: found.tokens as u32,
            }),
            pooling: seen.pooling.map(|pool| pool.name().into()),
            pooling_files: seen.pooling_files,
            memory: seen
                .memory
                .into_iter()
                .map(|(dtype, bytes)| NativeMemory { dtype: dtype.to_string(), bytes: bytes as f64 })
                .collect(),
            instruction_set: seen.instruction_set.into(),
            notices: seen.notices,
        }
    }
}

/// What was written; see ts/binding.ts.
#[napi(object, object_from_js = false)]
pub struct NativeConversion {
    pub source: String,
    pub format: String,
    pub folder: String,
    pub files: Vec<String>,
    pub tensors: u32,
    pub bytes: f64,
}

impl From<Conversion> for NativeConversion {
    fn from(done: Conversion) -> Self {
        Self {
            source: done.source.display().to_string(),
            format: done.format.to_string(),
            folder: done.folder.display().to_string(),
            files: done.files,
            tensors: done.tensors as u32,
            bytes: done.bytes as f64,
        }
    }
}

outcome!(
    /// What a model is, or why that is not known.
    InspectOutcome,
    NativeInspection
);
outcome!(
    /// What was written, or why nothing was.
    ConvertOutcome,
    NativeConversion
);

impl Answer for InspectOutcome {}
impl Answer for ConvertOutcome {}

/// Looks at a model.
#[napi]
pub fn inspect_model(env: &Env, request: FilesRequest) -> napi::Result<Object<'_>> {
    let (model, search) = request.into();
    promise::<InspectOutcome, _>(env, move || Ok(inspect(&model, &search)?.into()))
}

/// A file that has not been downloaded; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct NativeRemoteFile {
    pub file: String,
    pub bytes: f64,
    pub start: Buffer,
}

/// Looks at a model that has not been downloaded.
#[napi]
pub fn inspect_remote_model(env: &Env, folder: String, weights: Vec<NativeRemoteFile>) -> napi::Result<Object<'_>> {
    let remote =
        |NativeRemoteFile { file, bytes, start }| RemoteFile { file, bytes: bytes as u64, start: start.to_vec() };
    let weights: Vec<RemoteFile> = weights.into_iter().map(remote).collect();
    promise::<InspectOutcome, _>(env, move || Ok(inspect_remote(folder.as_ref(), &weights)?.into()))
}

/// Writes a model in Hugging Face layout.
#[napi]
pub fn convert_model<'env>(
    env: &'env Env,
    request: FilesRequest,
    target: String,
    dtype: Option<String>,
    force: bool,
    cancel: &CancelFlag,
) -> napi::Result<Object<'env>> {
    let (model, search) = request.into();
    let cancel = cancel.inner.clone();
    promise::<ConvertOutcome, _>(env, move || {
        let dtype = dtype.map(|dtype| dtype.parse()).transpose()?;
        let options = ConvertOptions { dtype, force, search, cancel };
        Ok(convert(&model, target.as_ref(), &options)?.into())
    })
}
