//! The JSON files beside a model's weights.

use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// Parsed, a value takes up to a hundred bytes, and `0,` has two: so many are those of 125,000 labels, or of 30,000 added tokens.
const MAX_VALUES: usize = 500_000;

/// Parses the text of a file.
///
/// # Errors
/// [`Error::ModelInvalid`] if it is not JSON, or has more values than any model's: they are counted before memory is taken.
pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Value> {
    // Each value but the first follows one of these, some of which are within texts.
    let values = text.iter().filter(|byte| b",:[{".contains(byte)).count();
    if values > MAX_VALUES {
        return Err(Error::invalid_file(path, format!("has {values} values: it is no such file of a model")));
    }
    serde_json::from_slice(text).map_err(|e| Error::invalid_file(path, format!("is not JSON: {e}")))
}

/// Reads a file; none if there is none.
///
/// # Errors
/// As [`parse`], and if it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(path).map_err(|e| Error::invalid_file(path, e))?;
    parse(&text, path).map(Some)
}
