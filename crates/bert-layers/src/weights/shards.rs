//! Which files hold a folder's weights: one, or the shards that an index lists.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::{Error, Result};

/// Formats that models come in, too.
const OTHER_FORMATS: [&str; 5] =
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack", "bert_model.ckpt.index"];

/// The safetensors files of a folder.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    if !index.is_file() {
        if let Some(other) = OTHER_FORMATS.into_iter().find(|name| folder.join(name).is_file()) {
            return Err(Error::ModelUnsupported(format!(
                "{} has its weights as {other}, and this version reads safetensors only: in Python, \
                 AutoModel.from_pretrained(folder).save_pretrained(folder) writes model.safetensors",
                folder.display()
            )));
        }
        return Err(Error::ModelNotFound(format!(
            "{} has no weights: model.safetensors, or model.safetensors.index.json with its shards, must be there",
            folder.display()
        )));
    }
    let text = std::fs::read(&index).map_err(|e| Error::invalid_file(&index, e))?;
    let json: Value =
        serde_json::from_slice(&text).map_err(|e| Error::invalid_file(&index, format!("is not JSON: {e}")))?;
    let map = json
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::invalid_file(&index, "field 'weight_map' must be an object"))?;
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map {
        let name = shard.as_str().filter(|name| is_plain_name(name)).ok_or_else(|| {
            Error::invalid_file(&index, format!("the shard of '{tensor}' must be a file name, is {shard}"))
        })?;
        shards.insert(folder.join(name));
    }
    if let Some(missing) = shards.iter().find(|shard| !shard.is_file()) {
        return Err(Error::invalid_file(missing, "this shard of the weights is missing"));
    }
    Ok(shards.into_iter().collect())
}

/// A name of a file in this folder: an index must not lead out of it.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}
