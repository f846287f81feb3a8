//! Any weight format → Hugging Face layout with safetensors. One tensor is in memory at a time, and the target has its name once
//! it is complete.

mod files;
mod safetensors;

use std::path::{Path, PathBuf};

use ::safetensors::Dtype as Stored;

use crate::config::{ModelConfig, config_file};
use crate::locate::{folder_of, locate_weights};
use crate::model::name_rules;
use crate::weights::{self, Checkpoint, WeightFormat};
use crate::{Cancel, Dtype, Error, Result, Search};
use files::Staged;

/// How to convert.
#[derive(Debug, Clone, Default)]
pub struct ConvertOptions {
    /// The type of the values to write; by default each tensor keeps its own. Whole numbers stay what they are.
    pub dtype: Option<Dtype>,
    /// Whether files that are there already are replaced.
    pub force: bool,
    /// Where a name is looked up.
    pub search: Search,
    /// Ends the work early.
    pub cancel: Cancel,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The file that stood for the weights that were read.
    pub source: PathBuf,
    /// Its format.
    pub format: WeightFormat,
    /// The folder that was written.
    pub folder: PathBuf,
    /// The files in it that were written, by their names there.
    pub files: Vec<String>,
    /// How many tensors, heads included.
    pub tensors: usize,
    /// Bytes of their values.
    pub bytes: u64,
}

/// Reads a model in any format and writes it to the folder `target` with `config.json`, `model.safetensors` and the files of its
/// tokenizer. `source` is a name, a folder or a file of weights.
///
/// All tensors are kept, those of heads too, under the names of Transformers' PyTorch models.
///
/// # Errors
/// [`Error::InvalidInput`] where `target` has something already, cannot be written, or a value does not fit the type asked for; those
/// of loading a model; [`Error::Cancelled`]. Whatever the error, nothing partial is left under a final name.
pub fn convert(source: &str, target: &Path, options: &ConvertOptions) -> Result<Conversion> {
    let dtype = match options.dtype {
        None => None,
        Some(Dtype::Float32) => Some(Stored::F32),
        Some(Dtype::Float16) => Some(Stored::F16),
        Some(Dtype::Bfloat16) => Some(Stored::BF16),
        Some(Dtype::Int8) => {
            return Err(Error::InvalidInput(
                "weights are not written as int8, which is made when a model is loaded: use float32, float16 or bfloat16".into(),
            ));
        }
    };
    let model = locate_weights(source, &options.search)?;
    let folder = folder_of(&model);
    if config_file(&folder).is_none() {
        return Err(Error::ModelNotFound(format!(
            "{} has no config.json: put the model's config.json or bert_config.json there",
            folder.display()
        )));
    }
    let config = ModelConfig::read(&folder)?;
    let found = weights::find(&model)?;
    let mut checkpoint = Checkpoint::open(&found)?;
    checkpoint.prefix(name_rules(&config))?;
    let staged = Staged::begin(target, options.force)?;
    let plan = safetensors::Plan::new(&checkpoint, name_rules(&config), dtype)?;
    plan.write(&mut checkpoint, &staged.path("model.safetensors"), &options.cancel)?;
    drop(checkpoint); // its files may be among those that are replaced
    files::write_beside(&folder, &staged, &config, dtype)?;
    options.cancel.check()?;
    let files = staged.finish()?;
    Ok(Conversion {
        source: found.path,
        format: found.format,
        folder: target.to_owned(),
        files,
        tensors: plan.tensors(),
        bytes: plan.bytes(),
    })
}
