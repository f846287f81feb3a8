//! Formats → named tensors, as f32.

mod safetensors;
mod shards;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::{Cancel, Error, Result};
use safetensors::SafetensorsFile;

/// One tensor, row-major, as f32 whatever it was stored as.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values, all finite.
    pub data: Vec<f32>,
}

/// The tensors of a folder's checkpoint by name. Nothing is read until it is asked for, and what was read is hashed.
pub struct Weights {
    folder: PathBuf,
    files: Vec<SafetensorsFile>,
    /// Name in the checkpoint → which of `files`.
    names: HashMap<String, usize>,
    /// What stands before the encoder's names: "bert." in task checkpoints, "" in bare ones.
    prefix: String,
    read: HashSet<String>,
    hasher: blake3::Hasher,
    values: u64,
    cancel: Cancel,
}

/// What was learnt about a checkpoint by reading it.
pub struct Summary {
    /// A hash of the names, shapes and stored bytes of what was read.
    pub hash: blake3::Hash,
    /// The values that were read.
    pub values: u64,
}

impl Weights {
    /// Opens `folder/model.safetensors`, or its shards. `base` is the name that task checkpoints put before the
    /// encoder's tensors, such as "bert", and `anchor` a tensor that every encoder of the family has.
    ///
    /// # Errors
    /// [`Error::ModelNotFound`] without weights, [`Error::ModelInvalid`] for a damaged file.
    pub fn open(folder: &Path, base: &str, anchor: &str, cancel: Cancel) -> Result<Self> {
        let files = shards::files(folder)?.into_iter().map(SafetensorsFile::open).collect::<Result<Vec<_>>>()?;
        let mut names = HashMap::new();
        for (i, file) in files.iter().enumerate() {
            for name in file.names() {
                if names.insert(name.clone(), i).is_some() {
                    return Err(Error::invalid_file(folder, format!("tensor '{name}' is in two of the weight files")));
                }
            }
        }
        let prefix = ["", &format!("{base}.")]
            .into_iter()
            .find(|prefix| names.contains_key(&format!("{prefix}{anchor}")))
            .map(str::to_owned)
            .ok_or_else(|| {
                Error::invalid_file(
                    folder,
                    format!("the weights have no tensor '{anchor}', with or without '{base}.' before it"),
                )
            })?;
        Ok(Self {
            folder: folder.to_owned(),
            files,
            names,
            prefix,
            read: HashSet::new(),
            hasher: blake3::Hasher::new(),
            values: 0,
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
        let Some((stored, file)) = self.find(name) else {
            return Err(Error::invalid_file(
                &self.folder,
                format!("the weights lack the tensor '{}{name}'", self.prefix),
            ));
        };
        let file = &mut self.files[file];
        let found = file.shape(&stored);
        if found != shape {
            return Err(Error::invalid_file(
                file.path(),
                format!("tensor '{stored}' has shape {found:?}, config.json says {shape:?}"),
            ));
        }
        // The name as asked for, not as stored: a checkpoint with old names is the same model.
        self.hasher.update(format!("{name} {shape:?}").as_bytes());
        let data = file.read(&stored, &mut self.hasher)?;
        if !data.iter().all(|x| x.is_finite()) {
            return Err(Error::invalid_file(
                file.path(),
                format!("tensor '{stored}' holds NaN or infinity: the checkpoint is damaged"),
            ));
        }
        self.values += data.len() as u64;
        self.read.insert(stored);
        Ok(Tensor { shape: shape.to_vec(), data })
    }

    /// Where `name` is: under its own name, or under the one that checkpoints before 2019 gave a layer norm.
    fn find(&self, name: &str) -> Option<(String, usize)> {
        let old = name
            .strip_suffix("LayerNorm.weight")
            .map(|start| format!("{start}LayerNorm.gamma"))
            .or_else(|| name.strip_suffix("LayerNorm.bias").map(|start| format!("{start}LayerNorm.beta")));
        [Some(name.to_owned()), old].into_iter().flatten().find_map(|name| {
            let stored = format!("{}{name}", self.prefix);
            self.names.get(&stored).map(|&file| (stored, file))
        })
    }

    /// Ends the reading: a tensor in one of the encoder's `rooms` ("encoder.") that nobody read, and that is not among
    /// `ignored`, may be one that a layer needs, and is refused. Tensors outside those rooms are heads, left aside.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] naming the tensor.
    pub fn finish(self, rooms: &[&str], ignored: &[&str]) -> Result<Summary> {
        let mut unread: Vec<&str> = self
            .names
            .keys()
            .filter(|stored| !self.read.contains(*stored))
            .filter_map(|stored| stored.strip_prefix(&self.prefix))
            .filter(|name| rooms.iter().any(|room| name.starts_with(room)) && !ignored.contains(name))
            .collect();
        unread.sort_unstable();
        match unread.first() {
            None => Ok(Summary { hash: self.hasher.finalize(), values: self.values }),
            Some(name) => Err(Error::ModelUnsupported(format!(
                "{}: the weights hold '{}{name}', which this architecture does not have ({} such tensors): its layers would be computed without it",
                self.folder.display(),
                self.prefix,
                unread.len()
            ))),
        }
    }
}
