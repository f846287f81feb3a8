//! The form before PyTorch 1.6: five pickles (a magic number, a version, what the machine was like, the state_dict, the names of
//! the storages), then each storage: the number of its values in 8 bytes, and the values.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::objects::{Pickle, Value};
use super::{MAX_PICKLE, Storages, collect, pickle, refused};
use crate::weights::tensor_file::{TensorFile, item_size};
use crate::{Error, Result};

/// 0x1950a86a20f9469cfc6c as LONG1 and STOP, behind the two bytes of PROTO.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const MAGIC_START: usize = 2;

/// Whether a file that begins so is of this form.
pub(super) fn is_legacy(start: &[u8]) -> bool {
    start.first() == Some(&0x80) && start.get(MAGIC_START..).is_some_and(|rest| rest.starts_with(MAGIC))
}

pub(super) fn open(path: &Path, mut file: File) -> Result<TensorFile> {
    let invalid = |reason: String| Error::invalid_file(path, reason);
    let failed = |e: std::io::Error| Error::invalid_file(path, e);
    let size = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    (&mut file).take(MAX_PICKLE).read_to_end(&mut bytes).map_err(failed)?;
    let mut position = MAGIC_START + MAGIC.len();
    let mut run = || -> Result<Pickle<'_>> {
        let pickle = pickle::run(&bytes[position..]).map_err(|reason| refused(path, reason))?;
        position += pickle.length;
        Ok(pickle)
    };
    let version = run()?;
    if version.result != Value::Int(1001) {
        return Err(invalid(format!("is of a PyTorch format {}, not 1001", version.describe(version.result))));
    }
    let machine = run()?;
    let little_endian = machine.dict(machine.result).and_then(|items| {
        items.iter().find(|(key, _)| machine.text(*key) == Some("little_endian")).map(|(_, value)| *value)
    });
    if little_endian == Some(Value::Bool(false)) {
        return Err(invalid("has big-endian values: save it again on a little-endian machine".into()));
    }
    let state_dict = run()?;
    let names = run()?;
    let keys = names.list(names.result).ok_or_else(|| invalid("lacks the list of its storages".into()))?;

    // How long a storage is depends on its type, which the state_dict says.
    let types: std::collections::HashMap<&str, _> =
        state_dict.storages().filter_map(|storage| Some((state_dict.text(storage.key)?, storage.dtype))).collect();
    let mut storages = Storages::new();
    let mut at = position as u64;
    for &key in keys {
        let key = names.text(key).ok_or_else(|| invalid("has a storage without a name".into()))?;
        let item = types.get(key).map(|&dtype| item_size(dtype) as u64);
        let item = item.ok_or_else(|| invalid(format!("has the storage '{key}', which no tensor uses")))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut count))
            .map_err(|_| invalid(format!("is cut short: storage '{key}' lies beyond its {size} bytes")))?;
        let start = at + count.len() as u64;
        let bytes = u64::from_le_bytes(count).checked_mul(item).filter(|&bytes| bytes <= size.saturating_sub(start));
        let bytes = bytes.ok_or_else(|| {
            invalid(format!("is cut short: storage '{key}' should have {} values", u64::from_le_bytes(count)))
        })?;
        storages.insert(key.to_owned(), (start, bytes));
        at = start + bytes;
    }
    if at != size {
        return Err(invalid(format!("should have {at} bytes, has {size}")));
    }
    let mut tensors = TensorFile::new(path);
    tensors.add_data(path, file)?;
    collect(&mut tensors, &state_dict, &storages)?;
    Ok(tensors)
}
