//! The files of a converted model: all are made in a folder beside the target, and moved to it when they are complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::config::{ModelConfig, config_file};
use crate::tokenize::lower_cases_by_default;
use crate::{Error, Result};

/// What belongs to a model beside its weights and its config.json: tokenizers, sentence-transformers, and under which terms it may
/// be used.
const BESIDE: [&str; 18] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];

/// A folder that becomes the target.
pub(super) struct Staged {
    target: PathBuf,
    folder: PathBuf,
}

impl Staged {
    /// Makes the folder, after a look at whether the target may be written.
    pub fn begin(target: &Path, force: bool) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if target.as_os_str().is_empty() {
            return Err(Error::InvalidInput("the folder to write to is empty: give a folder".into()));
        }
        if target.exists() && !target.is_dir() {
            return Err(Error::InvalidInput(format!("{} is a file: give a folder to write to", target.display())));
        }
        let is_used = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
        if is_used && !force {
            return Err(Error::InvalidInput(format!(
                "{} has files already: give another folder, or force to replace those of the model",
                target.display()
            )));
        }
        // On the same disk, so that the move is one step.
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!(".{name}.bert-layers-{}-{count}.tmp", std::process::id()));
        fs::create_dir_all(parent).and_then(|()| fs::create_dir(&folder)).map_err(|e| cannot_write(&folder, e))?;
        Ok(Self { target: target.to_owned(), folder })
    }

    /// Where a file of the target is made.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, contents).map_err(|e| cannot_write(&path, e))
    }

    fn copy(&self, from: &Path, name: &str) -> Result<()> {
        let contents = fs::read(from).map_err(|e| Error::invalid_file(from, e))?;
        self.write(name, &contents)
    }

    /// Gives the files their names: all at once where there is no target yet, else one after the other, the weights last. The
    /// names are what was written.
    pub fn finish(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        list(&self.folder, "", &mut names).map_err(|e| cannot_write(&self.folder, e))?;
        if !self.target.exists() {
            fs::rename(&self.folder, &self.target).map_err(|e| cannot_write(&self.target, e))?;
            names.sort();
            return Ok(names);
        }
        names.sort_by_key(|name| name.ends_with(".safetensors"));
        for name in &names {
            let target = self.target.join(name);
            let parent = target.parent().unwrap_or(&self.target);
            fs::create_dir_all(parent)
                .and_then(|()| fs::rename(self.path(name), &target))
                .map_err(|e| cannot_write(&target, e))?;
        }
        names.sort();
        Ok(names)
    }
}

impl Drop for Staged {
    /// What failed or was cancelled leaves nothing; what was finished has moved.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The files of a folder and of those in it, by their names from it.
fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// Writes config.json, and copies what stands beside it. A tokenizer that was read without a file saying how gets that file.
pub(super) fn write_beside(source: &Path, to: &Staged, config: &ModelConfig, dtype: Option<Dtype>) -> Result<()> {
    write_config(source, to, config, dtype)?;
    for name in BESIDE {
        let from = source.join(name);
        if from.is_file() {
            to.copy(&from, name)?;
        }
    }
    for module in modules(&source.join("modules.json")) {
        let folder = source.join(&module);
        let files = fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_file());
        for (i, file) in files.enumerate() {
            if i == 0 {
                let path = to.path(&module);
                fs::create_dir(&path).map_err(|e| cannot_write(&path, e))?;
            }
            to.copy(&file.path(), &format!("{module}/{}", file.file_name().to_string_lossy()))?;
        }
    }
    // Google's releases leave this to the name of their folder.
    let is_release = source.join("vocab.txt").is_file() && !source.join("config.json").is_file();
    if is_release && !source.join("tokenizer_config.json").is_file() {
        let fields = json!({
            "do_lower_case": lower_cases_by_default(source),
            "tokenizer_class": "BertTokenizer",
            "model_max_length": config.max_tokens(),
        });
        to.write("tokenizer_config.json", pretty(&fields).as_bytes())?;
    }
    Ok(())
}

/// config.json, with the family and the type of the weights as they are now.
fn write_config(source: &Path, to: &Staged, config: &ModelConfig, dtype: Option<Dtype>) -> Result<()> {
    let path = config_file(source).unwrap_or_else(|| source.join("config.json"));
    let text = fs::read(&path).map_err(|e| Error::invalid_file(&path, e))?;
    let is_named = path.ends_with("config.json");
    if is_named && dtype.is_none() {
        return to.write("config.json", &text);
    }
    let read: Map<String, Value> = serde_json::from_slice(&text).map_err(|e| Error::invalid_file(&path, e))?;
    let mut fields = Map::new();
    if !is_named {
        fields.insert("model_type".into(), config.model_type().into());
    }
    fields.extend(read);
    // Transformers loads in the type that it finds here. Its version 5 writes "dtype", 4 wrote "torch_dtype", and both read that.
    let name = match dtype {
        Some(Dtype::F32) => Some("float32"),
        Some(Dtype::F16) => Some("float16"),
        Some(Dtype::BF16) => Some("bfloat16"),
        _ => None,
    };
    if let Some(name) = name {
        let field = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        fields.insert(field.into(), name.into());
    }
    to.write("config.json", pretty(&Value::Object(fields)).as_bytes())
}

/// The folders that a sentence-transformers model has beside the encoder: 1_Pooling, unless modules.json names others.
fn modules(path: &Path) -> Vec<String> {
    if !path.is_file() {
        return vec!["1_Pooling".into()];
    }
    let json: Option<Value> = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let modules = json.as_ref().and_then(Value::as_array).into_iter().flatten();
    let mut names: Vec<String> = modules
        .filter_map(|module| module.get("path")?.as_str())
        .filter(|name| is_plain(name))
        .map(Into::into)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A folder's name: a file of the model must not lead out of it.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':'])
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A file or folder that cannot be written.
pub(super) fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::InvalidInput(format!("cannot write {}: {error}", path.display()))
}
