//! The index of weights in several files: which tensor is in which shard, as Transformers writes it in every format.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::{Error, Result, json};

/// The files that an index lists, each once.
pub(super) fn files(index: &Path) -> Result<Vec<PathBuf>> {
    let json = json::read(index)?.unwrap_or_default();
    let map = json
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::invalid_file(index, "field 'weight_map' must be an object"))?;
    let folder = index.parent().unwrap_or(Path::new(""));
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map {
        let name = shard.as_str().filter(|name| is_plain_name(name)).ok_or_else(|| {
            Error::invalid_file(index, format!("the shard of '{tensor}' must be a file name, is {shard}"))
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
