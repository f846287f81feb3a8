//! PyTorch (`pytorch_model.bin`, `.pt`): a pickle that says what the tensors are, and their storages beside it; in a zip archive
//! since PyTorch 1.6, one after the other in the file before.

mod legacy;
mod objects;
mod pickle;
mod zip;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::strides;
use super::tensor_file::{Entry, Piece, TensorFile, item_size};
use crate::{Error, Result};
use objects::{Pickle, Value};
use pickle::Failure;

/// The longest pickle that is run; that of a thousand tensors has 0.2 MB.
const MAX_PICKLE: u64 = 8 << 20;

/// Names under which training scripts keep a model's tensors beside other things.
const STATE_DICTS: [&str; 2] = ["state_dict", "model_state_dict"];

/// Where storages are, by their names: the first byte and the number of bytes.
type Storages = HashMap<String, (u64, u64)>;

/// Opens a file of either form.
pub(super) fn open(path: &Path) -> Result<TensorFile> {
    let failed = |e: std::io::Error| Error::invalid_file(path, e);
    let mut file = File::open(path).map_err(failed)?;
    let mut start = Vec::new();
    (&mut file).take(4096).read_to_end(&mut start).map_err(failed)?;
    file.rewind().map_err(failed)?;
    if start.starts_with(b"PK\x03\x04") {
        return zip::open(path, file);
    }
    if legacy::is_legacy(&start) {
        return legacy::open(path, file);
    }
    let what = if start.is_empty() {
        "is empty"
    } else if start.starts_with(b"version https://git-lfs") {
        "is a pointer of git-lfs, not the file itself: run 'git lfs pull'"
    } else if start.get(257..262) == Some(b"ustar") {
        "is of PyTorch before 0.2: save it again with a newer PyTorch"
    } else {
        "is no PyTorch checkpoint"
    };
    Err(Error::invalid_file(path, what))
}

/// A pickle that was not run to its end.
fn refused(path: &Path, failure: Failure) -> Error {
    match failure {
        Failure::Damaged(reason) => Error::invalid_file(path, reason),
        Failure::Refused(reason) => Error::unsupported_file(path, reason),
    }
}

/// Takes the tensors of a pickle that was run into the table.
fn collect(tensors: &mut TensorFile, pickle: &Pickle<'_>, storages: &Storages) -> Result<()> {
    let path = tensors.path().to_owned();
    let invalid = |reason: String| Error::invalid_file(&path, reason);
    let mut items = pickle
        .dict(pickle.result)
        .ok_or_else(|| invalid(format!("holds no state_dict but {}", pickle.describe(pickle.result))))?;
    let nested = items.iter().find(|(key, _)| pickle.text(*key).is_some_and(|key| STATE_DICTS.contains(&key)));
    if let Some(inner) = nested.and_then(|(_, value)| pickle.dict(*value)) {
        items = inner;
    }
    for &(key, value) in items {
        // Numbers and texts beside the tensors, such as an epoch, are no weights.
        let Value::Tensor(_) = value else { continue };
        let (Some(name), Some(tensor)) = (pickle.text(key), pickle.tensor(value)) else {
            return Err(invalid(format!("has a tensor named {}", pickle.describe(key))));
        };
        let stored = pickle.text(tensor.storage.key).and_then(|key| storages.get(key));
        let &(start, bytes) = stored.ok_or_else(|| invalid(format!("lacks the storage of tensor '{name}'")))?;
        let dtype = tensor.storage.dtype;
        let item = item_size(dtype) as u64;
        if tensor.storage.count.checked_mul(item) != Some(bytes) {
            return Err(invalid(format!(
                "the storage of tensor '{name}' should have {} values of type {dtype}, has {bytes} bytes",
                tensor.storage.count
            )));
        }
        // What the view spans of its storage.
        let span = strides::span(&tensor.shape, Some(&tensor.strides));
        let end = span.and_then(|span| span.checked_add(tensor.offset));
        let (Some(span), Some(_)) = (span, end.filter(|&end| end <= tensor.storage.count)) else {
            return Err(invalid(format!("tensor '{name}' reaches beyond its storage")));
        };
        let piece = Piece { offset: start + tensor.offset * item, bytes: span * item };
        let row_major = strides::is_row_major(&tensor.shape, &tensor.strides);
        tensors.add(
            name.to_owned(),
            Entry {
                dtype,
                shape: tensor.shape.clone(),
                file: 0,
                pieces: vec![piece],
                strides: (!row_major).then(|| tensor.strides.clone()),
                crc32c: None,
            },
        )?;
    }
    Ok(())
}
