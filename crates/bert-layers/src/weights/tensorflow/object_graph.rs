//! The object graph of a TensorFlow 2 checkpoint: its keys name Python objects ("variables/3/.ATTRIBUTES/VARIABLE_VALUE"), and this
//! message says what the variable behind each is called ("tf_bert_model/bert/encoder/layer_._0/attention/self/query/kernel").

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::proto::{Fields, varint};
use crate::weights::tensor_file::try_bytes;
use crate::{Error, Result};

/// Under this key, as a text.
pub(super) const KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// The longest that is read; BERT-large's has 0.3 MB.
const MAX_GRAPH: u64 = 8 << 20;
/// Names that are kept; BERT-large with its optimizer has 1,200.
const MAX_NAMES: usize = 50_000;

/// The names of variables by the keys of the checkpoint.
pub(super) fn names(data: &Path, offset: u64, bytes: u64) -> Result<HashMap<String, String>> {
    let damaged = || Error::invalid_file(data, "has a damaged object graph");
    let size = std::fs::metadata(data).map_err(|e| Error::invalid_file(data, e))?.len();
    if bytes > MAX_GRAPH || offset.checked_add(bytes).is_none_or(|end| end > size) {
        return Err(damaged());
    }
    let mut stored = try_bytes(bytes as usize)?;
    let mut file = File::open(data).map_err(|e| Error::invalid_file(data, e))?;
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut stored)).map_err(|_| damaged())?;
    // A tensor of texts: the length of each, a checksum of the lengths, the texts. This one has a single text.
    let mut message = &stored[..];
    let length = varint(&mut message).ok_or_else(damaged)?;
    let message = message.get(4..).filter(|text| text.len() as u64 == length).ok_or_else(damaged)?;
    graph(message).ok_or_else(damaged)
}

/// `TrackableObjectGraph`: nodes with attributes, each with its key and the full name of its variable.
fn graph(message: &[u8]) -> Option<HashMap<String, String>> {
    let mut names = HashMap::new();
    for node in Fields::of(message) {
        let (1, node) = node? else { continue };
        for attribute in Fields::of(node.bytes()?) {
            let (2, attribute) = attribute? else { continue };
            let (mut full_name, mut key) = ("", "");
            for field in Fields::of(attribute.bytes()?) {
                match field? {
                    (2, value) => full_name = std::str::from_utf8(value.bytes()?).ok()?,
                    (3, value) => key = std::str::from_utf8(value.bytes()?).ok()?,
                    _ => {}
                }
            }
            if !full_name.is_empty() && !key.is_empty() && names.len() < MAX_NAMES {
                names.insert(key.to_owned(), full_name.to_owned());
            }
        }
    }
    Some(names)
}
