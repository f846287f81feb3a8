//! What a model is that has not been downloaded yet.

use std::path::Path;

use super::{Inspection, WeightsFound};
use crate::Result;
use crate::weights::{WeightFormat, safetensors_entries};

/// A file of safetensors that is not here but for its beginning, which says what is in it.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// Its name, for messages.
    pub file: String,
    /// Bytes of all of it.
    pub bytes: u64,
    /// Its first bytes: the length of its header, and the header.
    pub start: Vec<u8>,
}

/// Looks at a model of which only the configurations are here, in `folder`, and the beginnings of its weights: none where these are
/// in another format than safetensors.
///
/// What is wrong with one of its files is a notice. Nothing is said of its tokenizer.
///
/// # Errors
/// [`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable) for an instruction set that this machine lacks.
pub fn inspect_remote(folder: &Path, weights: &[RemoteFile]) -> Result<Inspection> {
    let mut seen = Inspection::of(folder.to_owned())?;
    seen.look_at_config();
    seen.look_at_pooling();
    let Some(first) = weights.first() else { return Ok(seen) };
    let parts = weights
        .iter()
        .map(|RemoteFile { file, bytes, start }| safetensors_entries(Path::new(file), &mut start.as_slice(), *bytes));
    match parts.collect::<Result<Vec<_>>>() {
        Ok(parts) => {
            let tensors: Vec<_> = parts.iter().flatten().map(|(name, entry)| (name.as_str(), entry)).collect();
            let bytes = weights.iter().map(|weights| weights.bytes).sum();
            seen.count(Path::new(&first.file), &tensors);
            seen.weights =
                vec![WeightsFound::new(WeightFormat::Safetensors, first.file.clone(), bytes, Some(&tensors))];
        }
        Err(error) => seen.notices.push(error.to_string()),
    }
    Ok(seen)
}
