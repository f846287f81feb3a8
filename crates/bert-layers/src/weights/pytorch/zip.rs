//! The zip form: `NAME/data.pkl` and `NAME/data/KEY`, stored without compression.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::{MAX_PICKLE, Storages, collect, pickle};
use crate::weights::tensor_file::{TensorFile, try_bytes};
use crate::{Error, Result};

/// Bytes that reading the archive's directory may take: 50 times those of a thousand tensors.
const MAX_DIRECTORY: u64 = 8 << 20;

pub(super) fn open(path: &Path, file: File) -> Result<TensorFile> {
    let invalid = |reason: String| Error::invalid_file(path, reason);
    let failed = |e: io::Error| invalid(e.to_string());
    let mut reader = file.try_clone().map_err(failed)?;
    let mut archive = ZipArchive::new(Budgeted { file, left: MAX_DIRECTORY })
        .map_err(|e| invalid(format!("is a damaged archive, or cut short: {e}")))?;
    let mut storages = Storages::new();
    let (mut data_pkl, mut big_endian) = (None, false);
    for index in 0..archive.len() {
        let damaged = |e: zip::result::ZipError| invalid(format!("is a damaged archive: {e}"));
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.entry().name().map_err(damaged)?.into_owned();
        let Some((_, inner)) = name.split_once('/') else { continue };
        let storage = inner.strip_prefix("data/");
        if storage.is_none() && inner != "data.pkl" && inner != "byteorder" {
            continue;
        }
        let (size, stored) = (entry.entry().size(), entry.entry().compressed_size());
        if entry.entry().compression() != CompressionMethod::Stored || entry.entry().encrypted() || size != stored {
            return Err(invalid(format!(
                "'{name}' is compressed or encrypted, which PyTorch never does: it is refused"
            )));
        }
        let start = entry.data_start().ok_or_else(|| invalid(format!("'{name}' is nowhere in the archive")))?;
        drop(entry);
        match (storage, inner) {
            (Some(key), _) => {
                storages.insert(key.to_owned(), (start, size));
            }
            (None, "data.pkl") => {
                if data_pkl.replace((start, size)).is_some() {
                    return Err(invalid("holds two checkpoints".into()));
                }
            }
            _ => big_endian = read(&mut reader, start, size.min(16)).map_err(failed)? == b"big",
        }
    }
    if big_endian {
        return Err(invalid("has big-endian values: save it again on a little-endian machine".into()));
    }
    let (start, size) =
        data_pkl.ok_or_else(|| invalid("is an archive without data.pkl: no PyTorch checkpoint".into()))?;
    if size > MAX_PICKLE {
        return Err(invalid(format!("has a pickle of {size} bytes: it is no encoder's checkpoint")));
    }
    let available = reader.metadata().map_err(failed)?.len().saturating_sub(start);
    if size > available {
        return Err(invalid("is cut short: its pickle ends behind its end".into()));
    }
    let bytes = read(&mut reader, start, size).map_err(failed)?;
    let pickle = pickle::run(&bytes).map_err(|reason| super::refused(path, reason))?;
    let mut tensors = TensorFile::new(path);
    tensors.add_data(path, reader)?;
    collect(&mut tensors, &pickle, &storages)?;
    Ok(tensors)
}

fn read(file: &mut File, start: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = try_bytes(size as usize).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A file of which only so many bytes can be read: a directory of a million entries is not taken into memory to be refused.
struct Budgeted {
    file: File,
    left: u64,
}

impl Read for Budgeted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("its directory is larger than that of any checkpoint"));
        }
        let most = buffer.len().min(self.left as usize);
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Seek for Budgeted {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
