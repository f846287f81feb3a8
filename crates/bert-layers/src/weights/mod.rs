//! Formats → named tensors, as f32.
//!
//! A format is a function that turns a file's headers into a [`TensorFile`](tensor_file::TensorFile): a table of where each
//! tensor's values are, under the names of PyTorch's checkpoints. All that reads values is there, once for all formats.

mod flax;
mod formats;
mod names;
mod pieces;
mod pytorch;
mod safetensors;
mod shards;
mod strides;
mod tensor_file;
mod tensorflow;
mod widen;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bert_layers_kernels::Crew;

pub use formats::WeightFormat;
pub(crate) use formats::{Found, find, find_all};
pub(crate) use names::NameRules;
pub(crate) use safetensors::entries as safetensors_entries;
pub(crate) use tensor_file::{Entry, TensorFile, item_size, try_bytes};

use crate::{Cancel, Error, Result};

/// Tensors of a PyTorch or TensorFlow file may lie on top of each other, as tied ones do: few bytes could become a large model.
const MOST_SHARED: u64 = 2;

/// One tensor, row-major, as f32 whatever it was stored as.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values, all finite.
    pub data: Vec<f32>,
}

/// The tensors of a checkpoint by name. Nothing is read until it is asked for, and what was read is hashed.
pub struct Weights {
    checkpoint: Checkpoint,
    /// Bytes of its files.
    size: u64,
    rules: &'static NameRules,
    /// What stands before the encoder's names: "bert." in task checkpoints, "" in bare ones.
    prefix: String,
    read: HashSet<String>,
    hasher: blake3::Hasher,
    values: u64,
    /// Bytes of the files that were read, each as often as it was.
    bytes: u64,
    crew: Arc<Crew>,
    cancel: Cancel,
}

/// What was learnt about a checkpoint by reading it.
pub struct Summary {
    /// A hash of the names, shapes and values of what was read: the same for the same weights in any format.
    pub hash: blake3::Hash,
    /// The values that were read.
    pub values: u64,
}

/// The files of a checkpoint, opened.
pub(crate) struct Checkpoint {
    /// The folder or file, for messages.
    path: PathBuf,
    files: Vec<TensorFile>,
    /// Name in the checkpoint → which of `files`.
    names: HashMap<String, usize>,
}

impl Checkpoint {
    /// Opens what was found, reading headers only.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] for damaged files, [`Error::ModelUnsupported`] for sound ones that cannot be read.
    pub fn open(found: &Found) -> Result<Self> {
        let mut checkpoint = Self { path: found.path.clone(), files: found.open()?, names: HashMap::new() };
        for (i, file) in checkpoint.files.iter().enumerate() {
            for name in file.entries().keys() {
                if checkpoint.names.insert(name.clone(), i).is_some() {
                    let message = format!("tensor '{name}' is in two of the weight files");
                    return Err(Error::invalid_file(&checkpoint.path, message));
                }
            }
        }
        Ok(checkpoint)
    }

    /// What messages name: the file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(TensorFile::size).sum()
    }

    /// All tensors, in the order of their names within each file.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.files.iter().flat_map(|file| file.entries().iter().map(|(name, entry)| (name.as_str(), entry)))
    }

    /// The file that a tensor is in.
    pub fn file_of(&mut self, name: &str) -> Option<&mut TensorFile> {
        self.names.get(name).and_then(|&file| self.files.get_mut(file))
    }

    /// What stands before the encoder's names.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] where the tensor that every encoder of the family has is not there.
    pub fn prefix(&self, rules: &NameRules) -> Result<String> {
        rules.prefix(&self.path, |name| self.names.contains_key(name))
    }
}

impl Weights {
    /// Opens the weights of a folder, in the format that is read first of those it has. `crew` will read them.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] without weights, [`Error::ModelInvalid`] for a damaged file, [`Error::ModelUnsupported`] for
    /// a sound one that cannot be read.
    pub fn open(folder: &Path, rules: &'static NameRules, crew: Arc<Crew>, cancel: Cancel) -> Result<Self> {
        let checkpoint = Checkpoint::open(&find(folder)?)?;
        Ok(Self {
            prefix: checkpoint.prefix(rules)?,
            size: checkpoint.size(),
            checkpoint,
            rules,
            read: HashSet::new(),
            hasher: blake3::Hasher::new(),
            values: 0,
            bytes: 0,
            crew,
            cancel,
        })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Reads a tensor that must have this shape.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] if it is missing, has another shape, is of a type that is no real number, cannot be read to
    /// its end, or holds NaN or infinity. [`Error::Cancelled`].
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.cancel.check()?;
        let missing = |path: &Path, prefix: &str| {
            Error::invalid_file(path, format!("the weights lack the tensor '{prefix}{name}'"))
        };
        let stored = self.find(name).ok_or_else(|| missing(&self.checkpoint.path, &self.prefix))?;
        let Some(file) = self.checkpoint.file_of(&stored) else {
            return Err(missing(&self.checkpoint.path, &self.prefix));
        };
        let found = file.entries().get(&stored).map_or(&[][..], |entry| &entry.shape);
        if found != shape {
            return Err(Error::invalid_file(
                file.path(),
                format!("tensor '{stored}' has shape {found:?}, config.json says {shape:?}"),
            ));
        }
        self.bytes += file.entries().get(&stored).map_or(0, |entry| entry.bytes() as u64);
        if self.bytes > MOST_SHARED * self.size {
            return Err(Error::invalid_file(
                &self.checkpoint.path,
                "its tensors share their values so often that the model would be far larger than its files",
            ));
        }
        let (data, pieces) = file.read_pieces(&stored, &self.crew, |piece| {
            // All of them, without stopping at the first, is what vectors are fast at.
            let finite = piece.iter().fold(true, |all, x| all & x.is_finite());
            (finite, blake3::hash(bytemuck::cast_slice(piece)))
        })?;
        if !pieces.iter().all(|&(finite, _)| finite) {
            return Err(Error::invalid_file(
                file.path(),
                format!("tensor '{stored}' holds NaN or infinity: the checkpoint is damaged"),
            ));
        }
        // The name as asked for and the values as they are used: the same model has the same hash in every format.
        self.hasher.update(format!("{name} {shape:?}").as_bytes());
        for (_, hash) in &pieces {
            self.hasher.update(hash.as_bytes());
        }
        self.values += data.len() as u64;
        self.read.insert(stored);
        Ok(Tensor { shape: shape.to_vec(), data })
    }

    /// What `name` is stored as: itself, or the name that older checkpoints have.
    fn find(&self, name: &str) -> Option<String> {
        let stored = self.rules.spellings(name).map(|name| format!("{}{name}", self.prefix));
        stored.into_iter().find(|stored| self.checkpoint.names.contains_key(stored))
    }

    /// Ends the reading: a tensor in one of the encoder's rooms that nobody read, and that is not ignored, may be one that a
    /// layer needs, and is refused. Tensors outside those rooms are heads, left aside.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] naming the tensor.
    pub fn finish(self) -> Result<Summary> {
        let names = self.checkpoint.names.keys().filter(|stored| !self.read.contains(*stored));
        let mut unread: Vec<&str> = names
            .filter_map(|stored| stored.strip_prefix(&self.prefix))
            .filter(|name| self.rules.is_encoder(name) && !self.rules.ignored.contains(name))
            .collect();
        unread.sort_unstable();
        match unread.first() {
            None => Ok(Summary { hash: self.hasher.finalize(), values: self.values }),
            Some(name) => Err(Error::ModelUnsupported(format!(
                "{}: the weights hold '{}{name}', which this architecture does not have ({} such tensors): its layers would be computed without it",
                self.checkpoint.path.display(),
                self.prefix,
                unread.len()
            ))),
        }
    }
}
