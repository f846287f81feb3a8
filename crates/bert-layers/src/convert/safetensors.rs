//! Writing `model.safetensors`, a tensor at a time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::files::cannot_write;
use crate::weights::{Checkpoint, NameRules, item_size, try_bytes};
use crate::{Cancel, Error, Result};

/// Values converted at a time.
const RUN: usize = 1 << 16;
/// Several names may share values, as tied embeddings do; a small file whose names all do would fill the disk.
const MOST_SHARED: u64 = 4;

/// What will be written, and where.
pub(super) struct Plan {
    tensors: Vec<Planned>,
    bytes: u64,
}

struct Planned {
    /// Its name in the source.
    stored: String,
    /// Its name as Transformers has it today.
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: u64,
    is_converted: bool,
}

impl Plan {
    /// All tensors of a checkpoint; real numbers become `dtype`, where one is given.
    pub fn new(checkpoint: &Checkpoint, rules: &NameRules, dtype: Option<Dtype>) -> Result<Self> {
        let mut tensors: Vec<Planned> = checkpoint
            .entries()
            .map(|(stored, entry)| {
                let is_real = matches!(entry.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16);
                let dtype = dtype.filter(|_| is_real).unwrap_or(entry.dtype);
                Planned {
                    stored: stored.to_owned(),
                    name: rules.today(stored),
                    dtype,
                    shape: entry.shape.clone(),
                    bytes: (entry.count() * item_size(dtype)) as u64,
                    is_converted: dtype != entry.dtype,
                }
            })
            .collect();
        // As the format's own writer: the types of larger values first, so that every tensor is aligned.
        tensors.sort_by(|a, b| (item_size(b.dtype), &a.name).cmp(&(item_size(a.dtype), &b.name)));
        let mut names = HashSet::new();
        if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
            let message = format!("has tensor '{}' under its old name and its new one", twice.name);
            return Err(Error::invalid_file(checkpoint.path(), message));
        }
        let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
        if bytes > checkpoint.size().saturating_mul(MOST_SHARED) {
            let message =
                format!("its tensors are views of the same values: written out they would take {bytes} bytes");
            return Err(Error::invalid_file(checkpoint.path(), message));
        }
        Ok(Self { tensors, bytes })
    }

    pub fn tensors(&self) -> usize {
        self.tensors.len()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut fields = Map::new();
        fields.insert("__metadata__".into(), json!({ "format": "pt" }));
        let mut offset = 0;
        for Planned { name, dtype, shape, bytes, .. } in &self.tensors {
            let offsets = [offset, offset + bytes];
            fields.insert(name.clone(), json!({ "dtype": dtype.to_string(), "shape": shape, "data_offsets": offsets }));
            offset += bytes;
        }
        let mut header = Value::Object(fields).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        header
    }

    /// Writes the file.
    pub fn write(&self, checkpoint: &mut Checkpoint, path: &Path, cancel: &Cancel) -> Result<()> {
        let failed = |e: std::io::Error| cannot_write(path, e);
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path).map_err(failed)?);
        let header = self.header();
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        out.write_all(&header).map_err(failed)?;
        for tensor in &self.tensors {
            cancel.check()?;
            let file = checkpoint
                .file_of(&tensor.stored)
                .ok_or_else(|| Error::Internal(format!("tensor '{}' is gone", tensor.stored)))?;
            let is_sound = if tensor.is_converted || tensor.dtype == Dtype::F32 {
                let values = file.read(&tensor.stored)?;
                for values in values.chunks(RUN) {
                    let bytes = narrow(values, tensor.dtype).ok_or_else(|| tensor.too_large())?;
                    out.write_all(&bytes).map_err(failed)?;
                }
                values.iter().all(|value| value.is_finite())
            } else {
                let mut bytes = try_bytes(tensor.bytes as usize)?;
                file.read_bytes(&tensor.stored, &mut bytes)?;
                out.write_all(&bytes).map_err(failed)?;
                is_finite(tensor.dtype, &bytes)
            };
            if !is_sound {
                let message = format!("tensor '{}' holds NaN or infinity: the checkpoint is damaged", tensor.stored);
                return Err(Error::invalid_file(file.path(), message));
            }
        }
        let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)
    }
}

impl Planned {
    fn too_large(&self) -> Error {
        Error::InvalidInput(format!(
            "tensor '{}' has values that {} cannot hold: convert to bfloat16 or float32",
            self.stored, self.dtype
        ))
    }
}

/// Values in a type of 32 or 16 bits, to the nearest; none where a finite value would become infinite.
fn narrow(values: &[f32], dtype: Dtype) -> Option<Cow<'_, [u8]>> {
    let lost = |finite_after: &mut dyn Iterator<Item = bool>| {
        values.iter().zip(finite_after).any(|(value, finite)| value.is_finite() && !finite)
    };
    match dtype {
        Dtype::F16 => {
            let mut narrow = vec![f16::ZERO; values.len()];
            narrow.convert_from_f32_slice(values);
            let bytes = bytemuck::cast_slice(&narrow).to_vec();
            if lost(&mut narrow.iter().map(|value| value.is_finite())) { None } else { Some(bytes.into()) }
        }
        Dtype::BF16 => {
            let mut narrow = vec![bf16::ZERO; values.len()];
            narrow.convert_from_f32_slice(values);
            let bytes = bytemuck::cast_slice(&narrow).to_vec();
            if lost(&mut narrow.iter().map(|value| value.is_finite())) { None } else { Some(bytes.into()) }
        }
        _ => Some(bytemuck::cast_slice(values).into()),
    }
}

/// Whether all values of a type that is kept are finite; whole numbers are.
fn is_finite(dtype: Dtype, bytes: &[u8]) -> bool {
    match dtype {
        Dtype::F16 => bytes.as_chunks().0.iter().all(|&b| f16::from_le_bytes(b).is_finite()),
        Dtype::BF16 => bytes.as_chunks().0.iter().all(|&b| bf16::from_le_bytes(b).is_finite()),
        Dtype::F64 => bytes.as_chunks().0.iter().all(|&b| f64::from_le_bytes(b).is_finite()),
        _ => true,
    }
}
