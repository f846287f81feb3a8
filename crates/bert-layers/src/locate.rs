//! A name → the folder of the model: a folder, the Hugging Face cache, or an installed package.
//!
//! The cache's layout is huggingface_hub's, so that Python and this library share what either has downloaded:
//! `models--org--name/refs/<revision>` holds a commit, `models--org--name/snapshots/<commit>/` the files.

use std::env;
use std::path::{Path, PathBuf};

use crate::config::config_file;
use crate::{Error, Result};

/// Where to look for a model.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// A branch, tag or commit of the hub; "main" by default.
    pub revision: Option<String>,
    /// Instead of the cache that HF_HUB_CACHE, HF_HOME or the home folder give.
    pub cache_dir: Option<PathBuf>,
    /// Folders of installed packages that the name could mean; looked at last.
    pub package_folders: Vec<PathBuf>,
}

/// Finds the folder of a model.
///
/// # Errors
/// [`Error::ModelNotFound`], listing every place that was looked at.
pub fn locate(name: &str, search: &Search) -> Result<PathBuf> {
    let mut looked = Vec::new();
    let folder = Path::new(name);
    if name.is_empty() {
        return Err(Error::InvalidInput("the model's name is empty: give a folder or a name".into()));
    }
    if folder.is_dir() {
        return with_config(folder);
    }
    if folder.is_file() {
        return Err(Error::ModelNotFound(format!("{name} is a file: give the folder that it is in")));
    }
    looked.push(format!("the folder {}", env::current_dir().unwrap_or_default().join(folder).display()));
    if is_hub_name(name) {
        let cache = search.cache_dir.clone().or_else(hub_cache);
        if let Some(cache) = cache {
            let revision = search.revision.as_deref().unwrap_or("main");
            match snapshot(&cache, name, revision) {
                Some(folder) => return with_config(&folder),
                None => {
                    looked.push(format!("revision '{revision}' in the cache {}", repository(&cache, name).display()))
                }
            }
        }
        for folder in &search.package_folders {
            if folder.join("config.json").is_file() {
                return Ok(folder.clone());
            }
            looked.push(format!("the package {}", folder.display()));
        }
    }
    let hint = if is_hub_name(name) {
        format!(", or put the model into the cache, as `hf download {name}` does (pip install huggingface_hub)")
    } else {
        String::new()
    };
    Err(Error::ModelNotFound(format!(
        "no model '{name}'; looked at {}. Give a folder with config.json and model.safetensors{hint}",
        looked.join(", ")
    )))
}

/// Finds a folder, with a config.json or without, or a file of weights, or what [`locate`] finds.
pub(crate) fn locate_weights(name: &str, search: &Search) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_file() || path.is_dir() { Ok(path.to_owned()) } else { locate(name, search) }
}

/// The folder with the config.json of a folder or a file of weights: a SavedModel's variables are in a folder of their own.
pub(crate) fn folder_of(model: &Path) -> PathBuf {
    if model.is_dir() {
        return model.to_owned();
    }
    let parent = match model.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match parent.parent() {
        Some(above) if parent.file_name().is_some_and(|name| name == "variables") && config_file(parent).is_none() => {
            above.to_owned()
        }
        _ => parent.to_owned(),
    }
}

fn with_config(folder: &Path) -> Result<PathBuf> {
    if config_file(folder).is_some() {
        Ok(folder.to_owned())
    } else {
        Err(Error::ModelNotFound(format!("the folder {} has no config.json: it holds no model", folder.display())))
    }
}

/// `name` or `org/name`, of the characters that the hub allows: nothing that could lead out of the cache.
fn is_hub_name(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c))
    };
    name.split('/').count() <= 2 && name.split('/').all(plain)
}

/// The cache that huggingface_hub uses.
fn hub_cache() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(|value| in_home(value.into()));
    variable("HF_HUB_CACHE")
        .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(env::home_dir()?.join(".cache/huggingface/hub")))
}

/// `~/x` as huggingface_hub understands it: no shell expands a variable that was set in quotes.
fn in_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn repository(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("models--{}", name.replace('/', "--")))
}

/// The files of a revision, if the cache has them.
fn snapshot(cache: &Path, name: &str, revision: &str) -> Option<PathBuf> {
    // A revision may be a branch with slashes, but never a way up.
    if revision.split(['/', '\\']).any(|part| part.is_empty() || part == "..") {
        return None;
    }
    let repository = repository(cache, name);
    let commit =
        std::fs::read_to_string(repository.join("refs").join(revision)).unwrap_or_else(|_| revision.to_owned());
    let commit = commit.trim();
    if commit.is_empty() || commit.contains(['/', '\\']) || commit.starts_with('.') {
        return None;
    }
    Some(repository.join("snapshots").join(commit)).filter(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_the_cache_are_no_names() {
        for name in ["bert-base-uncased", "org/name", "@scope/name", "a.b_c-d"] {
            assert!(is_hub_name(name), "{name}");
        }
        for name in ["", "a/b/c", "../x", "a/..", "a..b", "/etc", "a\\b", "a b", "./a", "a/", "-a"] {
            assert!(!is_hub_name(name), "{name}");
        }
    }

    #[test]
    fn finds_what_python_downloaded() {
        let cache = std::env::temp_dir().join(format!("bert-layers-locate-{}", std::process::id()));
        let repository = cache.join("models--org--name");
        std::fs::create_dir_all(repository.join("refs")).expect("a temporary folder");
        std::fs::create_dir_all(repository.join("snapshots/abc123")).expect("a temporary folder");
        std::fs::write(repository.join("refs/main"), "abc123\n").expect("writable");
        std::fs::write(repository.join("snapshots/abc123/config.json"), "{}").expect("writable");
        let mut search = Search { cache_dir: Some(cache.clone()), ..Search::default() };
        let expected = repository.join("snapshots/abc123");
        assert_eq!(locate("org/name", &search), Ok(expected.clone()));
        search.revision = Some("abc123".into());
        assert_eq!(locate("org/name", &search), Ok(expected));
        for revision in ["v2", "../../x", "..", ""] {
            search.revision = Some(revision.into());
            let error = locate("org/name", &search).expect_err(revision);
            assert_eq!(error.code(), "ERR_MODEL_NOT_FOUND");
        }
        assert!(locate("other", &search).expect_err("absent").to_string().contains("models--other"));
        std::fs::remove_dir_all(cache).expect("removable");
    }
}
