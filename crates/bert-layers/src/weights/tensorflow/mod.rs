//! TensorFlow checkpoints ("tensor bundles"): `NAME.index`, a table that says what the tensors are, and their values in
//! `NAME.data-00000-of-00001` and so on. Google released BERT so (`bert_model.ckpt.*`), and the variables of a SavedModel are one.

mod object_graph;
mod proto;
mod table;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

use super::names;
use super::tensor_file::{Entry, MAX_DIMENSIONS, Piece, TensorFile};
use crate::{Error, Result};
use proto::Fields;

/// The longest index that is read; BERT-base's has 9 kB.
const MAX_INDEX: u64 = 16 << 20;
/// More files than any checkpoint was cut into.
const MAX_SHARDS: u64 = 1000;
/// The index begins with what is true of the whole checkpoint.
const HEADER_KEY: &[u8] = b"";
/// Names that a folder's checkpoint may have, beside any other single one.
const NAMES: [&str; 3] = ["bert_model.ckpt.index", "model.ckpt.index", "variables/variables.index"];

/// What the index says of a tensor.
#[derive(Default)]
struct BundleEntry {
    dtype: u64,
    shape: Vec<u64>,
    shard: u64,
    offset: u64,
    bytes: u64,
    crc32c: Option<u32>,
    /// Whether it lies in slices under other names, as the variables of a partitioned model do.
    sliced: bool,
}

/// Opens the checkpoint of an index; its names become those of the PyTorch checkpoint.
pub(super) fn open(index: &Path) -> Result<TensorFile> {
    let invalid = |reason: String| Error::invalid_file(index, reason);
    let mut table = Vec::new();
    let file = File::open(index).map_err(|e| invalid(e.to_string()))?;
    file.take(MAX_INDEX + 1).read_to_end(&mut table).map_err(|e| invalid(e.to_string()))?;
    if table.len() as u64 > MAX_INDEX {
        return Err(invalid("is too large for the index of an encoder's checkpoint".into()));
    }
    let mut shards = None;
    let mut entries = Vec::new();
    // Where each data file must reach, for what is left aside too: one that is cut short is not to be trusted.
    let mut ends = HashMap::<u64, u64>::new();
    table::for_each(index, &table, &mut |key, value| {
        let damaged = || invalid(format!("has a damaged entry '{}'", String::from_utf8_lossy(key)));
        if key == HEADER_KEY {
            shards = Some(header(index, value)?);
            return Ok(());
        }
        let name = std::str::from_utf8(key).map_err(|_| damaged())?;
        let entry = bundle_entry(value).ok_or_else(damaged)?;
        let end = entry.offset.checked_add(entry.bytes).ok_or_else(damaged)?;
        let last = ends.entry(entry.shard).or_default();
        *last = end.max(*last);
        if !names::is_tensorflow_bookkeeping(name) {
            entries.push((name.to_owned(), entry));
        }
        Ok(())
    })?;
    let shards = shards.ok_or_else(|| invalid("lacks its header".into()))?;
    let mut tensors = TensorFile::new(index);
    for shard in 0..shards {
        let path = data_file(index, shard, shards)?;
        let number = tensors.open_data(&path)?;
        let (size, end) = (tensors.data_size(number), ends.get(&shard).copied().unwrap_or(0));
        if end > size {
            return Err(Error::invalid_file(&path, format!("is cut short: it should have {end} bytes, has {size}")));
        }
    }
    // A checkpoint of objects names them by their place in Python; beside that it has the names of their variables.
    let graph = entries.iter().find(|(name, _)| name == object_graph::KEY);
    let names = match graph {
        Some((_, entry)) if entry.shard < shards => {
            object_graph::names(&data_file(index, entry.shard, shards)?, entry.offset, entry.bytes)?
        }
        _ => HashMap::new(),
    };
    for (key, entry) in entries {
        let name = names.get(&key).unwrap_or(&key);
        if names::is_tensorflow_bookkeeping(name) {
            continue;
        }
        // Texts and other things that are no weights; what a layer needs is missed by its name.
        let Some(dtype) = dtype(entry.dtype) else { continue };
        let (translated, transposed) = names::from_tensorflow(name);
        if entry.sliced {
            return Err(Error::ModelUnsupported(format!(
                "{}: '{key}' is stored in slices, as partitioned variables are: save the checkpoint again without partitions",
                index.display()
            )));
        }
        let shape = entry.shape.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
        let shape = shape.ok_or_else(|| invalid(format!("'{key}' has the impossible shape {:?}", entry.shape)))?;
        let piece = Piece { offset: entry.offset, bytes: entry.bytes };
        let file = usize::try_from(entry.shard).unwrap_or(usize::MAX);
        let mut stored = Entry { dtype, shape, file, pieces: vec![piece], strides: None, crc32c: entry.crc32c };
        if transposed {
            stored.transpose();
        }
        tensors.add(translated, stored)?;
    }
    Ok(tensors)
}

/// `BundleHeaderProto`: the number of data files.
fn header(index: &Path, value: &[u8]) -> Result<u64> {
    let (mut shards, mut big_endian) = (0, false);
    for field in Fields::of(value) {
        match field {
            Some((1, value)) => shards = value.number().unwrap_or(0),
            Some((2, value)) => big_endian = value.number() != Some(0),
            Some(_) => {}
            None => return Err(Error::invalid_file(index, "has a damaged header")),
        }
    }
    if big_endian {
        return Err(Error::ModelUnsupported(format!("{}: its values are big-endian", index.display())));
    }
    if !(1..=MAX_SHARDS).contains(&shards) {
        return Err(Error::invalid_file(index, format!("says that its values are in {shards} files")));
    }
    Ok(shards)
}

/// `BundleEntryProto`.
fn bundle_entry(value: &[u8]) -> Option<BundleEntry> {
    let mut entry = BundleEntry::default();
    for field in Fields::of(value) {
        match field? {
            (1, value) => entry.dtype = value.number()?,
            (2, value) => entry.shape = shape(value.bytes()?)?,
            (3, value) => entry.shard = value.number()?,
            (4, value) => entry.offset = value.number()?,
            (5, value) => entry.bytes = value.number()?,
            (6, proto::Field::Fixed32(crc)) => entry.crc32c = Some(crc),
            (7, _) => entry.sliced = true,
            _ => {}
        }
    }
    Some(entry)
}

/// `TensorShapeProto`: its dimensions' sizes.
fn shape(message: &[u8]) -> Option<Vec<u64>> {
    let mut sizes = Vec::new();
    for field in Fields::of(message) {
        if let (2, dimension) = field? {
            let mut size = 0;
            for field in Fields::of(dimension.bytes()?) {
                if let (1, value) = field? {
                    size = value.number()?;
                }
            }
            sizes.push(size);
            if sizes.len() > MAX_DIMENSIONS {
                return None;
            }
        }
    }
    Some(sizes)
}

/// `DataType`, those that safetensors has too.
fn dtype(number: u64) -> Option<Dtype> {
    Some(match number {
        1 => Dtype::F32,
        2 => Dtype::F64,
        3 => Dtype::I32,
        4 => Dtype::U8,
        5 => Dtype::I16,
        6 => Dtype::I8,
        9 => Dtype::I64,
        10 => Dtype::BOOL,
        14 => Dtype::BF16,
        19 => Dtype::F16,
        _ => return None,
    })
}

/// `NAME.index` → `NAME.data-00000-of-00001`.
fn data_file(index: &Path, shard: u64, shards: u64) -> Result<PathBuf> {
    let path = index.with_extension(format!("data-{shard:05}-of-{shards:05}"));
    if path.is_file() { Ok(path) } else { Err(Error::invalid_file(&path, "this part of the checkpoint is missing")) }
}

/// The data files beside an index.
pub(super) fn data_files(index: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(stem)) = (index.parent(), index.file_stem()) else { return Vec::new() };
    let start = format!("{}.data-", stem.to_string_lossy());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with(&start)).map(|e| e.path()).collect()
}

/// The index of a folder's checkpoint.
///
/// # Errors
/// [`Error::ModelInvalid`] where there are several and none has a usual name.
pub(super) fn find(folder: &Path) -> Result<Option<PathBuf>> {
    if let Some(path) = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(Some(path));
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut indices: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "index") && !data_files(path).is_empty()).collect();
    indices.sort();
    match &indices[..] {
        [_, _, ..] => {
            let names: Vec<_> =
                indices.iter().filter_map(|path| path.file_name()).map(|n| n.to_string_lossy()).collect();
            let message = format!("has several checkpoints ({}): name the .index file of one", names.join(", "));
            Err(Error::invalid_file(folder, message))
        }
        _ => Ok(indices.pop()),
    }
}

/// The index of a checkpoint that was named as TensorFlow names it: without an ending, or by one of its data files.
pub(super) fn index_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stem = name.split_once(".data-").map(|(stem, _)| stem)?;
    Some(path.with_file_name(format!("{stem}.index"))).filter(|index| index.is_file())
}
