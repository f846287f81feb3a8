//! What every format becomes: a table of named tensors that says where in which file each one's values lie. Making the table
//! reads headers only; values are read one tensor at a time, and only as many bytes as the files were found to have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bert_layers_kernels::Crew;
use safetensors::Dtype;

use super::widen::widen;
use super::{pieces, strides};
use crate::{Error, Result};

/// More tensors than any encoder has, by far: a file that declares more is no checkpoint of one.
const MAX_TENSORS: usize = 10_000;
/// Bytes of a name, likewise.
const MAX_NAME: usize = 512;
/// PyTorch, TensorFlow and NumPy stop at 32 or above; a model's weights have at most 4.
pub(super) const MAX_DIMENSIONS: usize = 8;

/// A tensor as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The type of its values.
    pub dtype: Dtype,
    /// Its sizes, outermost first, as PyTorch has them.
    pub shape: Vec<usize>,
    /// Which of the files its values are in.
    pub file: usize,
    /// Where they are: one run of bytes or several that follow each other, little-endian.
    pub pieces: Vec<Piece>,
    /// How far apart neighbours of each dimension lie, in values; none: row-major.
    pub strides: Option<Vec<usize>>,
    /// The masked CRC-32C of the pieces, where the format has one.
    pub crc32c: Option<u32>,
}

/// A run of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub offset: u64,
    pub bytes: u64,
}

impl Entry {
    /// Row-major values in one piece.
    pub fn row_major(dtype: Dtype, shape: Vec<usize>, offset: u64, bytes: u64) -> Self {
        Self { dtype, shape, file: 0, pieces: vec![Piece { offset, bytes }], strides: None, crc32c: None }
    }

    /// A stored matrix [in, out] becomes PyTorch's [out, in], a convolution's [places, in, out] its [out, in, places]: other numbers
    /// of dimensions are left as they are.
    pub fn transpose(&mut self) {
        match self.shape[..] {
            [rows, columns] => {
                self.shape = vec![columns, rows];
                self.strides = Some(vec![1, columns]);
            }
            [places, rows, columns] => {
                self.shape = vec![columns, rows, places];
                // A product that does not fit is found when the tensor is taken into a table.
                self.strides = Some(vec![1, columns, rows.saturating_mul(columns)]);
            }
            _ => {}
        }
    }

    /// Where its values start in the file, if they are f32, row-major, one after the other, and have no checksum.
    fn plain_floats(&self) -> Option<u64> {
        match &self.pieces[..] {
            [piece] if self.dtype == Dtype::F32 && self.strides.is_none() && self.crc32c.is_none() => {
                Some(piece.offset)
            }
            _ => None,
        }
    }

    /// The number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product() // checked to fit when it was taken into a table
    }

    /// The bytes of its values.
    pub fn bytes(&self) -> usize {
        self.count() * item_size(self.dtype)
    }
}

/// Bytes of one value; 0 for types of less than a byte, which no encoder's weights have.
pub(crate) fn item_size(dtype: Dtype) -> usize {
    if dtype.bitsize().is_multiple_of(8) { dtype.bitsize() / 8 } else { 0 }
}

/// An opened file of weights, with the files that hold its values.
pub(crate) struct TensorFile {
    path: PathBuf,
    files: Vec<DataFile>,
    entries: BTreeMap<String, Entry>,
}

/// A file that values are read from.
struct DataFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl TensorFile {
    /// A table without tensors. `path` is what messages name.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), files: Vec::new(), entries: BTreeMap::new() }
    }

    /// Opens a file that values will be read from; the first is number 0.
    pub fn open_data(&mut self, path: &Path) -> Result<usize> {
        let file = File::open(path).map_err(|e| Error::invalid_file(path, e))?;
        self.add_data(path, file)
    }

    /// Takes a file that is open already.
    pub fn add_data(&mut self, path: &Path, file: File) -> Result<usize> {
        let size = file.metadata().map_err(|e| Error::invalid_file(path, e))?.len();
        self.files.push(DataFile { path: path.to_owned(), file, size });
        Ok(self.files.len() - 1)
    }

    /// Bytes of one of the files.
    pub fn data_size(&self, file: usize) -> u64 {
        self.files.get(file).map_or(0, |data| data.size)
    }

    /// Takes a tensor into the table.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] for one whose parts contradict each other or the size of its file.
    pub fn add(&mut self, name: String, entry: Entry) -> Result<()> {
        let invalid = |reason: String| Error::invalid_file(&self.path, reason);
        if name.len() > MAX_NAME {
            return Err(invalid(format!("has a tensor whose name is {} bytes long", name.len())));
        }
        if self.entries.len() >= MAX_TENSORS {
            return Err(invalid(format!("has more than {MAX_TENSORS} tensors: it is no encoder's checkpoint")));
        }
        let Entry { shape, pieces, .. } = &entry;
        if shape.len() > MAX_DIMENSIONS {
            return Err(invalid(format!("tensor '{name}' has {} dimensions", shape.len())));
        }
        let stored = pieces.iter().try_fold(0u64, |sum, piece| sum.checked_add(piece.bytes));
        let size = item_size(entry.dtype) as u64;
        let spanned = strides::span(shape, entry.strides.as_deref()).and_then(|values| values.checked_mul(size));
        let needed = strides::span(shape, None).and_then(|values| values.checked_mul(size));
        let (Some(stored), Some(spanned), Some(needed)) = (stored, spanned, needed) else {
            return Err(invalid(format!("tensor '{name}' has the impossible shape {shape:?}")));
        };
        // A view may skip values of what it spans, but not repeat them: a small file must not become a large tensor.
        if stored != spanned || needed > stored {
            return Err(invalid(format!(
                "tensor '{name}' of shape {shape:?} and type {} needs {needed} bytes, {stored} are stored",
                entry.dtype
            )));
        }
        let data = self.files.get(entry.file).ok_or_else(|| invalid(format!("tensor '{name}' is in no file")))?;
        let end = |piece: &Piece| piece.offset.checked_add(piece.bytes);
        if pieces.iter().any(|piece| end(piece).is_none_or(|end| end > data.size)) {
            let message = format!("is cut short: tensor '{name}' lies beyond its {} bytes", data.size);
            return Err(Error::invalid_file(&data.path, message));
        }
        if self.entries.contains_key(&name) {
            return Err(invalid(format!("has two tensors named '{name}'")));
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the files that its values are in.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The tensors, by name.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The values of a tensor as f32.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] if it is not there, is of no floating-point type, or cannot be read as it was stored;
    /// [`Error::OutOfMemory`].
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>> {
        let (dtype, count, bytes) = match self.entries.get(name) {
            Some(entry) => (entry.dtype, entry.count(), entry.bytes()),
            None => return Err(Error::invalid_file(&self.path, format!("has no tensor '{name}'"))),
        };
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            return Err(Error::invalid_file(
                &self.path,
                format!("tensor '{name}' is stored as {dtype}; weights must be F32, F16, BF16 or F64"),
            ));
        }
        let mut values = bert_layers_kernels::try_zeroed(count)?;
        if dtype == Dtype::F32 {
            self.read_bytes(name, bytemuck::cast_slice_mut(&mut values))?;
            return Ok(values);
        }
        let mut stored = try_bytes(bytes)?;
        self.read_bytes(name, &mut stored)?;
        widen(dtype, &stored, &mut values);
        Ok(values)
    }

    /// The values of a tensor as f32, read by all threads if they are stored like that, and what `look` finds in each piece of them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_pieces<T: Send + Sync>(
        &mut self,
        name: &str,
        crew: &Crew,
        look: impl Fn(&[f32]) -> T + Sync,
    ) -> Result<(Vec<f32>, Vec<T>)> {
        let stored = self.entries.get(name).and_then(|entry| Some((entry.plain_floats()?, entry.count(), entry.file)));
        let Some((offset, count, file)) = stored else {
            let mut values = self.read(name)?;
            let found = pieces::map(crew, &mut values, |_, piece| Ok(look(piece)))?;
            return Ok((values, found));
        };
        let data = &self.files[file];
        let mut values = bert_layers_kernels::try_zeroed(count)?;
        let found = pieces::map(crew, &mut values, |first, piece| {
            let offset = offset + (first * size_of::<f32>()) as u64;
            pieces::read_at(&data.file, bytemuck::cast_slice_mut(piece), offset)
                .map_err(|e| data.cut_short(name, &e))?;
            Ok(look(piece))
        })?;
        Ok((values, found))
    }

    /// The bytes of a tensor that is there, row-major in the type it is stored as; `out` has its size.
    pub fn read_bytes(&mut self, name: &str, out: &mut [u8]) -> Result<()> {
        let entry =
            self.entries.get(name).ok_or_else(|| Error::invalid_file(&self.path, format!("has no tensor '{name}'")))?;
        let data = &mut self.files[entry.file];
        match &entry.strides {
            None => data.read(name, entry, out),
            Some(strides) => {
                let stored: u64 = entry.pieces.iter().map(|piece| piece.bytes).sum();
                let mut raw = try_bytes(usize::try_from(stored).unwrap_or(usize::MAX))?;
                data.read(name, entry, &mut raw)?;
                strides::gather(&raw, item_size(entry.dtype), &entry.shape, strides, out);
                Ok(())
            }
        }
    }
}

impl DataFile {
    fn cut_short(&self, name: &str, error: &io::Error) -> Error {
        Error::invalid_file(&self.path, format!("tensor '{name}' is cut short: {error}"))
    }

    /// The pieces of a tensor, one after the other.
    fn read(&mut self, name: &str, entry: &Entry, mut out: &mut [u8]) -> Result<()> {
        let mut crc = 0;
        for piece in &entry.pieces {
            let (head, rest) = out.split_at_mut(piece.bytes as usize);
            self.file
                .seek(SeekFrom::Start(piece.offset))
                .and_then(|_| self.file.read_exact(head))
                .map_err(|e| self.cut_short(name, &e))?;
            if entry.crc32c.is_some() {
                crc = crc32c::crc32c_append(crc, head);
            }
            out = rest;
        }
        match entry.crc32c {
            Some(expected) if expected != mask(crc) => Err(Error::invalid_file(
                &self.path,
                format!("tensor '{name}' is damaged: its checksum is not the one in the index. Download it again"),
            )),
            _ => Ok(()),
        }
    }
}

/// A CRC-32C as LevelDB and TensorFlow store it.
pub(super) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `bytes` zeros, or why not.
pub(crate) fn try_bytes(bytes: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| Error::OutOfMemory { what: "a tensor", bytes: bytes as u64 })?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}
