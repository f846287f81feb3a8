//! safetensors: a JSON header that says where each tensor is, checked whole before any tensor is read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::Metadata;

use super::tensor_file::{Entry, TensorFile};
use crate::{Error, Result};

/// The length of the header, in front of it.
const LENGTH_BYTES: u64 = 8;
/// The format allows 100 MB; that of an encoder with a thousand tensors has 0.1 MB, and a parsed header is several times its text.
const MAX_HEADER: u64 = 16 << 20;

/// Opens a file whose header is found sound: offsets in range, in order, without overlaps or holes, sizes fitting the shapes.
pub(super) fn open(path: &Path) -> Result<TensorFile> {
    let invalid = |reason: String| Error::invalid_file(path, reason);
    let mut file = File::open(path).map_err(|e| invalid(e.to_string()))?;
    let size = file.metadata().map_err(|e| invalid(e.to_string()))?.len();
    let entries = entries(path, &mut file, size)?;
    let mut tensors = TensorFile::new(path);
    tensors.add_data(path, file)?;
    for (name, entry) in entries {
        tensors.add(name, entry)?;
    }
    Ok(tensors)
}

/// The tensors of a file of `size` bytes, from its beginning. `path` is what messages name.
pub(crate) fn entries(path: &Path, file: &mut impl Read, size: u64) -> Result<Vec<(String, Entry)>> {
    let invalid = |reason: String| Error::invalid_file(path, reason);
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(|_| invalid(format!("is cut short: {size} bytes are no safetensors file")))?;
    let length = u64::from_le_bytes(length);
    let start = length.saturating_add(LENGTH_BYTES);
    if length > MAX_HEADER || start > size {
        return Err(invalid(format!(
            "is no safetensors file, or cut short: its header should have {length} bytes, the file has {size}"
        )));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(|e| invalid(format!("is cut short: {e}")))?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|e| invalid(format!("has a damaged header: {e}")))?;
    drop(header);
    let expected = start + metadata.data_len() as u64;
    if expected != size {
        return Err(invalid(format!("should have {expected} bytes by its header, has {size}: download it again")));
    }
    let mut entries = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let (from, to) = info.data_offsets;
        let entry = Entry::row_major(info.dtype, info.shape.clone(), start + from as u64, (to - from) as u64);
        entries.push((name, entry));
    }
    Ok(entries)
}
