//! The index of a TensorFlow checkpoint: a table of LevelDB, sorted keys in blocks, each key without what it shares with the one
//! before, each block with its checksum.

use std::path::Path;

use super::proto::varint;
use crate::weights::tensor_file::mask;
use crate::{Error, Result};

/// Metaindex and index handle, padding, magic number.
const FOOTER: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Behind each block: how it is compressed, and the masked CRC-32C of it and that.
const TRAILER: usize = 5;
/// BERT-large with the two moments of its optimizer has 1,200.
const MAX_ENTRIES: usize = 20_000;
/// Bytes of a key.
const MAX_KEY: usize = 512;

/// Takes a key and its value.
type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Calls `each` with every key and value of a table.
pub(super) fn for_each(path: &Path, table: &[u8], each: &mut Each<'_>) -> Result<()> {
    let invalid = |reason: &str| Error::invalid_file(path, reason);
    let footer = table.len().checked_sub(FOOTER).and_then(|start| table[start..].first_chunk::<FOOTER>());
    let footer =
        footer.ok_or_else(|| invalid("is cut short: too few bytes for the index of a TensorFlow checkpoint"))?;
    if footer.last_chunk() != Some(&MAGIC.to_le_bytes()) {
        return Err(invalid("is cut short, or no index of a TensorFlow checkpoint"));
    }
    let mut handles = &footer[..];
    let mut handle = || Some((varint(&mut handles)?, varint(&mut handles)?));
    let (_, index) = (handle(), handle());
    let index = index.ok_or_else(|| invalid("has a damaged footer"))?;
    let mut seen = 0;
    let mut counted = |key: &[u8], value: &[u8]| {
        seen += 1;
        if seen > MAX_ENTRIES {
            return Err(invalid("has more entries than any encoder's checkpoint"));
        }
        each(key, value)
    };
    let mut read = 0;
    entries(path, block(path, table, index)?, &mut |_, mut value| {
        let handle = varint(&mut value).zip(varint(&mut value));
        let handle = handle.ok_or_else(|| invalid("has a damaged index block"))?;
        let block = block(path, table, handle)?;
        // Blocks lie side by side: one that is named again and again would be read as often.
        read += block.len() + TRAILER;
        if read > table.len() {
            return Err(invalid("has a damaged index block: it names a block twice"));
        }
        entries(path, block, &mut counted)
    })
}

/// The block at an offset, of a size without its trailer, found sound.
fn block<'a>(path: &Path, table: &'a [u8], (offset, size): (u64, u64)) -> Result<&'a [u8]> {
    let range = || {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?.checked_add(TRAILER)?;
        table.get(start..end)
    };
    let bytes = range().ok_or_else(|| Error::invalid_file(path, "is cut short: a block lies beyond its end"))?;
    let (checked, crc) = bytes.split_at(bytes.len() - 4);
    let (contents, compression) = checked.split_at(checked.len() - 1);
    if crc != mask(crc32c::crc32c(checked)).to_le_bytes() {
        return Err(Error::invalid_file(path, "has a damaged block: its checksum is wrong. Download it again"));
    }
    match compression {
        [0] => Ok(contents),
        [kind] => {
            let name = if *kind == 1 { "Snappy".to_owned() } else { format!("type {kind}") };
            Err(Error::ModelUnsupported(format!(
                "{}: its blocks are compressed ({name}), which TensorFlow never does to the index of a checkpoint: save it again \
                 with TensorFlow",
                path.display()
            )))
        }
        _ => Err(Error::invalid_file(path, "has a damaged block")),
    }
}

/// The entries of a block: bytes shared with the key before, further bytes, bytes of the value, and both.
fn entries(path: &Path, block: &[u8], each: &mut Each<'_>) -> Result<()> {
    let damaged = || Error::invalid_file(path, "has a damaged block: its entries do not fit");
    // At its end, places where whole keys begin, and their number.
    let (rest, restarts) = block.split_last_chunk().ok_or_else(damaged)?;
    let restarts = (u32::from_le_bytes(*restarts) as usize).checked_mul(4);
    let mut rest =
        restarts.and_then(|bytes| rest.len().checked_sub(bytes)).and_then(|end| rest.get(..end)).ok_or_else(damaged)?;
    let mut key = Vec::new();
    while !rest.is_empty() {
        let mut length = || varint(&mut rest).and_then(|length| usize::try_from(length).ok());
        let (Some(shared), Some(further), Some(value)) = (length(), length(), length()) else { return Err(damaged()) };
        if shared > key.len() || further > MAX_KEY || shared + further > MAX_KEY {
            return Err(damaged());
        }
        let (further, after) = rest.split_at_checked(further).ok_or_else(damaged)?;
        let (value, after) = after.split_at_checked(value).ok_or_else(damaged)?;
        key.truncate(shared);
        key.extend_from_slice(further);
        rest = after;
        each(&key, value)?;
    }
    Ok(())
}
