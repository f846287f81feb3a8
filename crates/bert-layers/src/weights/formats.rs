//! Which weight files a folder has, in which of the formats, and which of them are read.

use std::fmt;
use std::path::{Path, PathBuf};

use super::tensor_file::TensorFile;
use super::{flax, pytorch, safetensors, shards, tensorflow};
use crate::{Error, Result};

/// A format that weights come in, the one that is read first where a folder has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightFormat {
    /// `model.safetensors`, or its shards.
    Safetensors,
    /// `pytorch_model.bin`, its shards, or a `.pt` file: pickled by PyTorch.
    Pytorch,
    /// `flax_model.msgpack`, or its shards.
    Flax,
    /// A TensorFlow checkpoint, as Google released BERT, or the variables of a SavedModel.
    Tensorflow,
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Pytorch => "pytorch",
            Self::Flax => "flax",
            Self::Tensorflow => "tensorflow",
        })
    }
}

/// Names under which a folder may have weights: one file, or the index of its shards.
const NAMES: [(WeightFormat, &[&str]); 3] = [
    (WeightFormat::Safetensors, &["model.safetensors", "model.safetensors.index.json"]),
    (
        WeightFormat::Pytorch,
        &["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model.pt", "model.pt", "model.bin"],
    ),
    (WeightFormat::Flax, &["flax_model.msgpack", "flax_model.msgpack.index.json"]),
];

/// Formats that are not read, with what makes them one that is.
const OTHER_NAMES: [&str; 4] = ["tf_model.h5", "rust_model.ot", "model.onnx", "onnx/model.onnx"];

/// A folder's weights in one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub format: WeightFormat,
    /// The file that stands for them: the only one, or the index.
    pub path: PathBuf,
}

impl Found {
    /// Opens the files, reading headers only.
    pub fn open(&self) -> Result<Vec<TensorFile>> {
        let open = match self.format {
            WeightFormat::Safetensors => safetensors::open,
            WeightFormat::Pytorch => pytorch::open,
            WeightFormat::Flax => flax::open,
            WeightFormat::Tensorflow => tensorflow::open,
        };
        if self.path.extension().is_some_and(|extension| extension == "json") {
            return shards::files(&self.path)?.iter().map(|path| open(path)).collect();
        }
        Ok(vec![open(&self.path)?])
    }

    /// The files that are there on disk, for their sizes and times.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.path.clone()];
        if self.path.extension().is_some_and(|extension| extension == "json") {
            files.extend(shards::files(&self.path).unwrap_or_default());
        } else if self.format == WeightFormat::Tensorflow {
            files.extend(tensorflow::data_files(&self.path));
        }
        files
    }
}

/// All weights of a folder, the ones that are read first.
///
/// # Errors
/// [`Error::ModelInvalid`] where several TensorFlow checkpoints leave open which one is meant.
pub(crate) fn find_all(folder: &Path) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    for (format, names) in NAMES {
        let path = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        found.extend(path.map(|path| Found { format, path }));
    }
    // Only then: a folder whose weights are clear may hold as many others as it likes.
    match tensorflow::find(folder) {
        Ok(path) => found.extend(path.map(|path| Found { format: WeightFormat::Tensorflow, path })),
        Err(_) if !found.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// What is read of a folder, or of a file of weights.
///
/// # Errors
/// [`Error::ModelNotFound`] without weights, [`Error::ModelUnsupported`] for weights in another format.
pub(crate) fn find(model: &Path) -> Result<Found> {
    if model.is_file() {
        return of_file(model);
    }
    if let Some(first) = find_all(model)?.into_iter().next() {
        return Ok(first);
    }
    let folder = model.display();
    if let Some(other) = OTHER_NAMES.into_iter().find(|name| model.join(name).is_file()) {
        return Err(Error::ModelUnsupported(format!(
            "{folder} has its weights as {other}, which is not read; read are safetensors, PyTorch's .bin and .pt, flax_model.msgpack \
             and TensorFlow checkpoints: in Python, AutoModel.from_pretrained(folder).save_pretrained(folder) writes model.safetensors"
        )));
    }
    Err(Error::ModelNotFound(format!(
        "{folder} has no weights: model.safetensors, pytorch_model.bin, flax_model.msgpack or bert_model.ckpt.index, or an index with \
         its shards, must be there"
    )))
}

/// The format of a file that was named itself.
fn of_file(path: &Path) -> Result<Found> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = name.strip_suffix(".index.json").unwrap_or(&name);
    let format = if stem.ends_with(".safetensors") {
        WeightFormat::Safetensors
    } else if [".bin", ".pt", ".pth", ".ckpt"].iter().any(|end| stem.ends_with(end)) {
        WeightFormat::Pytorch
    } else if stem.ends_with(".msgpack") {
        WeightFormat::Flax
    } else if stem.ends_with(".index") {
        WeightFormat::Tensorflow
    } else if let Some(index) = tensorflow::index_of(path) {
        return Ok(Found { format: WeightFormat::Tensorflow, path: index });
    } else {
        return Err(Error::ModelUnsupported(format!(
            "{}: the name is of no weight format that is read: .safetensors, .bin, .pt, .msgpack, or the .index of a TensorFlow checkpoint",
            path.display()
        )));
    };
    Ok(Found { format, path: path.to_owned() })
}
