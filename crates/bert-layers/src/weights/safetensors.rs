//! One safetensors file: the header is checked whole before any tensor is read, and tensors are read, not mapped, so that
//! a file cut short under us is an error and not a SIGBUS.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::{Error, Result};

/// The length of the header, in front of it.
const LENGTH_BYTES: u64 = 8;
/// The safetensors format's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// An open file whose header was found sound: offsets in range, in order, without overlaps or holes, sizes fitting the shapes.
pub(super) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    start: u64,
}

impl SafetensorsFile {
    pub fn open(path: PathBuf) -> Result<Self> {
        let invalid = |reason: String| Error::invalid_file(&path, reason);
        let mut file = File::open(&path).map_err(|e| invalid(e.to_string()))?;
        let size = file.metadata().map_err(|e| invalid(e.to_string()))?.len();
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length)
            .map_err(|_| invalid(format!("is cut short: {size} bytes are no safetensors file")))?;
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
        let expected = start + metadata.data_len() as u64;
        if expected != size {
            return Err(invalid(format!("should have {expected} bytes by its header, has {size}: download it again")));
        }
        Ok(Self { path, file, metadata, start })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// The shape of a tensor that is there.
    pub fn shape(&self, name: &str) -> &[usize] {
        self.metadata.info(name).map_or(&[], |info| &info.shape)
    }

    /// The values of a tensor that is there, as f32; the stored bytes go into `hasher`.
    pub fn read(&mut self, name: &str, hasher: &mut blake3::Hasher) -> Result<Vec<f32>> {
        let info = self
            .metadata
            .info(name)
            .ok_or_else(|| Error::invalid_file(&self.path, format!("has no tensor '{name}'")))?;
        let (offset, dtype, count) = (self.start + info.data_offsets.0 as u64, info.dtype, info.shape.iter().product());
        self.file.seek(SeekFrom::Start(offset)).map_err(|e| Error::invalid_file(&self.path, e))?;
        let mut fill = |bytes: &mut [u8]| -> Result<()> {
            self.file
                .read_exact(bytes)
                .map_err(|e| Error::invalid_file(&self.path, format!("tensor '{name}' is cut short: {e}")))?;
            hasher.update(bytes);
            Ok(())
        };
        let mut values = bert_layers_kernels::try_zeroed(count)?;
        match dtype {
            Dtype::F32 => fill(bytemuck::cast_slice_mut(&mut values))?,
            Dtype::F16 => {
                let mut stored = vec![f16::ZERO; count];
                fill(bytemuck::cast_slice_mut(&mut stored))?;
                stored.convert_to_f32_slice(&mut values);
            }
            Dtype::BF16 => {
                let mut stored = vec![bf16::ZERO; count];
                fill(bytemuck::cast_slice_mut(&mut stored))?;
                stored.convert_to_f32_slice(&mut values);
            }
            other => {
                return Err(Error::invalid_file(
                    &self.path,
                    format!("tensor '{name}' is stored as {other}; weights must be F32, F16 or BF16"),
                ));
            }
        }
        Ok(values)
    }
}
