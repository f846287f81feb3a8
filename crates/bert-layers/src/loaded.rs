//! A model in memory, and the one copy of it that all encoders of a process share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use bert_layers_kernels::Crew;

use crate::backend::{self, Backend};
use crate::config::{ModelConfig, Pooling, SENTENCE_FILES, SentenceConfig};
use crate::device::Device;
use crate::encoder::LoadOptions;
use crate::last_layer::LastLayer;
use crate::tokenize::Tokenizer;
use crate::{Dtype, Result, result_buffer, samples, weights};

/// The version of our arithmetic: one more whenever a change of code changes a number.
const ARITHMETIC: u32 = 4;

/// A loaded model.
pub(crate) struct Loaded {
    pub config: ModelConfig,
    pub folder: PathBuf,
    pub device: String,
    pub dtype: Dtype,
    pub fingerprint: String,
    pub weight_bytes: u64,
    pub tokenizer: Option<Arc<Tokenizer>>,
    pub sentence: SentenceConfig,
    pub backend: Box<dyn Backend>,
    /// Dropped last, as fields are in their order.
    _trim: Trim,
}

/// Gives the memory of weights and earlier results back to the system when a model goes.
struct Trim;

impl Drop for Trim {
    fn drop(&mut self) {
        result_buffer::release_kept();
        bert_layers_kernels::release_freed();
    }
}

impl Loaded {
    fn load(folder: &Path, device: &Device, options: &LoadOptions, crew: &Arc<Crew>) -> Result<Self> {
        let &LoadOptions { dtype, last_layer, .. } = options;
        let trim = Trim; // for what a load that fails leaves, too
        let config = ModelConfig::read(folder)?;
        last_layer.check(&config)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("arithmetic {ARITHMETIC}, {dtype}, {config:?}").as_bytes());
        if last_layer != LastLayer::default() {
            hasher.update(format!("{last_layer:?}").as_bytes());
        }
        let tokenizer = Tokenizer::load(folder, config.vocab_size(), &mut hasher)?;
        let mut sentence = SentenceConfig::read(folder)?;
        if sentence.lower_case && tokenizer.as_ref().is_some_and(|tokenizer| !tokenizer.lower_cases()) {
            let what = "do_lower_case in sentence_bert_config.json, which its tokenizer does not do";
            sentence.pooling = Some(Pooling::Unknown(what.into()));
        }
        hasher.update(format!("{sentence:?}").as_bytes());
        let samples = samples::tokens(tokenizer.as_ref(), &config)?;
        let (backend, summary) = backend::load(&config, folder, device, options, &samples, crew)?;
        hasher.update(summary.hash.as_bytes());
        hasher.update(format!("{} {}", device.name(), backend.instruction_set()).as_bytes());
        Ok(Self {
            config,
            folder: folder.to_owned(),
            device: device.name(),
            dtype,
            fingerprint: hasher.finalize().to_hex().to_string(),
            weight_bytes: summary.values * dtype.size(),
            tokenizer: tokenizer.map(Arc::new),
            sentence,
            backend,
            _trim: trim,
        })
    }

    /// The model of a folder: the copy that an encoder of this process holds already, or a new one. Who asks for a model that is
    /// just being loaded waits for it. `crew` loads it.
    pub fn shared(folder: &Path, options: &LoadOptions, crew: &Arc<Crew>) -> Result<Arc<Self>> {
        static SLOTS: Mutex<Option<HashMap<Key, Arc<Slot>>>> = Mutex::new(None);
        let device = Device::open(options.device, options.dtype)?;
        let key = Key::of(folder, device.name(), options.dtype, options.last_layer);
        let slot = {
            let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
            let slots = slots.get_or_insert_default();
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.model().strong_count() > 0);
            slots.entry(key).or_default().clone()
        };
        let mut model = slot.model();
        if let Some(loaded) = model.upgrade() {
            return Ok(loaded);
        }
        let loaded = Arc::new(Self::load(folder, &device, options, crew)?);
        *model = Arc::downgrade(&loaded);
        Ok(loaded)
    }
}

/// A place for one model, locked while it is loaded.
#[derive(Default)]
struct Slot(Mutex<Weak<Loaded>>);

impl Slot {
    fn model(&self) -> std::sync::MutexGuard<'_, Weak<Loaded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes two loads the same: the folder, what its files were when they were read, device, dtype and what the last layer is.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    folder: PathBuf,
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
    device: String,
    dtype: Dtype,
    last_layer: LastLayer,
}

impl Key {
    fn of(folder: &Path, device: String, dtype: Dtype, last_layer: LastLayer) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        // What a model is made of: a result that somebody saves beside it makes no new model.
        let small = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            [".json", "vocab.txt", "merges.txt"].iter().any(|end| name.ends_with(end))
        });
        let weights = weights::find(&folder).map_or(Vec::new(), |found| found.files());
        let mut files: Vec<_> = small
            .chain(SENTENCE_FILES.iter().filter(|file| file.contains('/')).map(|file| folder.join(file)))
            .chain(weights)
            .filter_map(|path| {
                // Not the link's own: in the cache the files are links.
                let metadata = std::fs::metadata(&path).ok()?;
                metadata.is_file().then(|| (path, metadata.len(), metadata.modified().ok()))
            })
            .collect();
        files.sort();
        files.dedup();
        Self { folder, files, device, dtype, last_layer }
    }
}
