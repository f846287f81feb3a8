//! Flax (`flax_model.msgpack`): nested maps of arrays, as `flax.serialization` writes them. An array is an extension of kind 1
//! that holds `[shape, type, bytes]`; one that is larger than MessagePack allows is a map of chunks.

mod msgpack;

use std::path::Path;

use safetensors::Dtype;

use super::names;
use super::tensor_file::{Entry, MAX_DIMENSIONS, Piece, TensorFile};
use crate::Result;
use msgpack::{Reader, Token};

/// flax.serialization's kind of an extension that is an array.
const NDARRAY: i8 = 1;
/// In a map that stands for an array.
const CHUNKED: &str = "__msgpack_chunked_array__";
/// Far deeper than any model's modules are nested.
const MAX_DEPTH: usize = 32;
/// A chunk has 1 GB: more than fit a disk.
const MAX_CHUNKS: u32 = 4096;
/// Opens a file and finds its arrays; their names become those of the PyTorch checkpoint.
pub(super) fn open(path: &Path) -> Result<TensorFile> {
    let mut walk = Walk { reader: Reader::open(path)?, tensors: TensorFile::new(path) };
    walk.tensors.open_data(path)?;
    match walk.reader.next()? {
        Token::Map(count) => walk.map(count, &mut Vec::new(), 0)?,
        other => return Err(walk.invalid(format!("must be a map of parameters, is {}", describe(&other)))),
    }
    if !walk.reader.at_end() {
        return Err(walk.invalid("goes on behind its parameters".into()));
    }
    Ok(walk.tensors)
}

/// The way through the nested maps.
struct Walk<'a> {
    reader: Reader<'a>,
    tensors: TensorFile,
}

impl Walk<'_> {
    /// A map of modules or parameters, below the modules in `path`.
    fn map(&mut self, count: u32, path: &mut Vec<String>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.invalid(format!("nests modules deeper than {MAX_DEPTH}")));
        }
        for entry in 0..count {
            let key = self.text()?;
            // Flax puts the mark first, and no module is called so.
            if key == CHUNKED && entry == 0 {
                return self.chunked(count, path);
            }
            // Checkpoints with other collections beside the parameters have these below "params".
            let is_module = depth > 0 || key != "params";
            if is_module {
                path.push(key);
            }
            match self.reader.next()? {
                Token::Map(count) => self.map(count, path, depth + 1)?,
                Token::Extension(NDARRAY, length) => {
                    let (dtype, shape, piece) = self.array(length)?;
                    self.add(path, dtype, shape, vec![piece])?;
                }
                other => {
                    let (name, what) = (path.join("."), describe(&other));
                    return Err(self.invalid(format!("'{name}' must be an array, is {what}")));
                }
            }
            if is_module {
                path.pop();
            }
        }
        Ok(())
    }

    /// `{mark: true, "shape": {"0": …}, "chunks": {"0": array, …}}`, whose mark was read.
    fn chunked(&mut self, count: u32, path: &[String]) -> Result<()> {
        if count != 3 || self.reader.next()? != Token::Bool {
            return Err(self.invalid(format!("'{}' is a damaged chunked array", path.join("."))));
        }
        let (mut shape, mut pieces, mut dtype) = (None, Vec::new(), None);
        for _ in 1..count {
            let key = self.text()?;
            let Token::Map(length) = self.reader.next()? else {
                return Err(self.invalid(format!("'{}': {key} must be a map", path.join("."))));
            };
            match key.as_str() {
                "shape" if length as usize <= MAX_DIMENSIONS => {
                    let sizes = (0..length).map(|i| self.index(i).and_then(|()| self.size()));
                    shape = Some(sizes.collect::<Result<Vec<_>>>()?);
                }
                "chunks" if length <= MAX_CHUNKS => {
                    for i in 0..length {
                        self.index(i)?;
                        let Token::Extension(NDARRAY, length) = self.reader.next()? else {
                            return Err(self.invalid(format!("'{}': chunk {i} is no array", path.join("."))));
                        };
                        let (each, _, piece) = self.array(length)?;
                        if *dtype.get_or_insert(each) != each {
                            return Err(self.invalid(format!("'{}': its chunks differ in type", path.join("."))));
                        }
                        pieces.push(piece);
                    }
                }
                _ => return Err(self.invalid(format!("'{}' is a damaged chunked array", path.join(".")))),
            }
        }
        match (dtype, shape) {
            (Some(dtype), Some(shape)) => self.add(path, dtype, shape, pieces),
            _ => Err(self.invalid(format!("'{}' is a damaged chunked array", path.join(".")))),
        }
    }

    /// The inside of an extension that is an array; its values are passed over.
    fn array(&mut self, length: u32) -> Result<(Dtype, Vec<usize>, Piece)> {
        let end = self.reader.position() + u64::from(length);
        let damaged = || "holds a damaged array".to_owned();
        let (Token::List(3), Token::List(dimensions)) = (self.reader.next()?, self.reader.next()?) else {
            return Err(self.invalid(damaged()));
        };
        if dimensions as usize > MAX_DIMENSIONS {
            return Err(self.invalid(format!("holds an array of {dimensions} dimensions")));
        }
        let shape = (0..dimensions).map(|_| self.size()).collect::<Result<Vec<_>>>()?;
        let name = self.text()?;
        let dtype = dtype(&name).ok_or_else(|| self.invalid(format!("holds an array of the type '{name}'")))?;
        let Token::Bytes(bytes) = self.reader.next()? else { return Err(self.invalid(damaged())) };
        let piece = Piece { offset: self.reader.position(), bytes: bytes.into() };
        self.reader.skip(bytes)?;
        if self.reader.position() != end {
            return Err(self.invalid(damaged()));
        }
        Ok((dtype, shape, piece))
    }

    fn add(&mut self, path: &[String], dtype: Dtype, shape: Vec<usize>, pieces: Vec<Piece>) -> Result<()> {
        let mut entry = Entry { dtype, shape, file: 0, pieces, strides: None, crc32c: None };
        let (name, transposed) = names::from_flax(path);
        if transposed {
            entry.transpose();
        }
        self.tensors.add(name, entry)
    }

    /// The key of a list that is written as a map: "0", "1", ….
    fn index(&mut self, expected: u32) -> Result<()> {
        match self.text()? {
            key if key == expected.to_string() => Ok(()),
            key => Err(self.invalid(format!("has the key '{key}' where '{expected}' should be"))),
        }
    }

    fn size(&mut self) -> Result<usize> {
        match self.reader.next()? {
            Token::Int(size) => {
                usize::try_from(size).map_err(|_| self.invalid(format!("holds an array of size {size}")))
            }
            other => Err(self.invalid(format!("has {} for an array's size", describe(&other)))),
        }
    }

    fn text(&mut self) -> Result<String> {
        match self.reader.next()? {
            Token::Text(text) => Ok(text),
            other => Err(self.invalid(format!("has {} where a name should be", describe(&other)))),
        }
    }

    fn invalid(&self, reason: String) -> crate::Error {
        self.reader.invalid(format!("{reason}: it is damaged, or no Flax checkpoint"))
    }
}

/// A NumPy type by its name.
fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" => Dtype::F64,
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "bool" => Dtype::BOOL,
        _ => return None,
    })
}

fn describe(token: &Token) -> String {
    match token {
        Token::Nil => "nothing".into(),
        Token::Bool => "true or false".into(),
        Token::Int(number) => format!("the number {number}"),
        Token::Float => "a number".into(),
        Token::Text(text) => format!("the text '{text}'"),
        Token::Bytes(length) => format!("{length} bytes"),
        Token::List(count) => format!("a list of {count}"),
        Token::Map(count) => format!("a map of {count}"),
        Token::Extension(kind, _) => format!("an extension of kind {kind}"),
    }
}
