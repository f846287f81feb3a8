//! What a model is, from its small files and the headers of its weights.

mod memory;
mod remote;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use bert_layers_kernels::Kernels;
use serde_json::Value;

pub use self::remote::{RemoteFile, inspect_remote};
use crate::config::{ModelConfig, Pooling, SENTENCE_FILES, SentenceConfig, config_file};
use crate::locate::{folder_of, locate_weights};
use crate::model::name_rules;
use crate::pool::Pool;
use crate::tokenize::{self, Tokenizer, lower_cases_by_default};
use crate::weights::{self, Checkpoint, Entry, Found, NameRules, WeightFormat, item_size};
use crate::{Dtype, Error, Result, Search};

/// What a model is.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The folder that its files are in.
    pub folder: PathBuf,
    /// The family as config.json names it, supported or not.
    pub model_type: Option<String>,
    /// The architecture; none where config.json is missing or describes something that is not run.
    pub config: Option<ModelConfig>,
    /// The weights in each format that is there, the one that is read first.
    pub weights: Vec<WeightsFound>,
    /// Values of the encoder, in the weights that are read.
    pub parameters: u64,
    /// Values of heads, which are left aside.
    pub head_parameters: u64,
    /// What is left aside, such as "cls.predictions".
    pub heads: Vec<String>,
    /// Whether there is a pooler.
    pub has_pooler: bool,
    /// The tokenizer, if there is one that can be read.
    pub tokenizer: Option<TokenizerFound>,
    /// How the model's files say that tokens become one vector.
    pub pooling: Option<Pool>,
    /// Files of sentence-transformers that say how vectors are made, such as "1_Pooling/config.json".
    pub pooling_files: Vec<String>,
    /// Bytes that the weights take on a CPU in each precision, about; empty where the architecture is not known.
    pub memory: Vec<(Dtype, u64)>,
    /// The instruction set that the kernels use on this machine, such as "avx512".
    pub instruction_set: &'static str,
    /// What a user should know: formats that are passed over, files that are missing or damaged.
    pub notices: Vec<String>,
}

/// A model's weights in one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsFound {
    /// The format.
    pub format: WeightFormat,
    /// The only file, or the index of several, by its name in the folder.
    pub file: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// The number of tensors; none where the files cannot be read.
    pub tensors: Option<usize>,
    /// How many values are stored in each type, such as ("F32", 109482240).
    pub dtypes: Vec<(String, u64)>,
}

/// A model's tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerFound {
    /// The file that it was made of.
    pub file: &'static str,
    /// Its kind: "WordPiece", "BPE", "Unigram" or "WordLevel".
    pub kind: &'static str,
    /// Its tokens, added ones included.
    pub tokens: usize,
}

/// Looks at a model: a name, a folder or a file of weights. Weights are not loaded.
///
/// What is wrong with one of its files is a notice, so that the others are shown.
///
/// # Errors
/// [`Error::ModelNotFound`] where there is nothing, [`Error::DeviceUnavailable`] for an instruction set that this machine lacks.
pub fn inspect(model: &str, search: &Search) -> Result<Inspection> {
    let path = locate_weights(model, search)?;
    let mut seen = Inspection::of(folder_of(&path))?;
    seen.look_at_config();
    seen.look_at_weights(&path);
    seen.look_at_tokenizer();
    seen.look_at_pooling();
    if seen.config.is_none() && seen.weights.is_empty() {
        let reason = seen.notices.join(". ");
        return Err(Error::ModelNotFound(format!("{} holds no model: {reason}", path.display())));
    }
    Ok(seen)
}

/// Where a folder has weights in several formats, those that are not of the same model as the weights that are read: what who loads
/// it should say. Headers are looked at, not values; a file that cannot be read disagrees with nothing.
pub fn disagreements(folder: &Path, config: &ModelConfig) -> Vec<String> {
    let found = weights::find_all(folder).unwrap_or_default();
    let [first, others @ ..] = &found[..] else { return Vec::new() };
    let Some(read) = (!others.is_empty()).then(|| Checkpoint::open(first).ok()).flatten() else { return Vec::new() };
    let disagrees = |other: &Found| {
        let difference = difference(&read, &Checkpoint::open(other).ok()?, name_rules(config))?;
        Some(format!(
            "{} is read; {} beside it is left aside, and is not of the same model: {difference}",
            first.path.display(),
            other.path.display()
        ))
    };
    others.iter().filter_map(disagrees).collect()
}

impl Inspection {
    /// What is known of a folder before anybody looks.
    fn of(folder: PathBuf) -> Result<Self> {
        let kernels = Kernels::chosen().map_err(|e| Error::DeviceUnavailable(e.to_string()))?;
        Ok(Self {
            model_type: model_type(&folder),
            config: None,
            weights: Vec::new(),
            parameters: 0,
            head_parameters: 0,
            heads: Vec::new(),
            has_pooler: false,
            tokenizer: None,
            pooling: None,
            pooling_files: SENTENCE_FILES
                .into_iter()
                .filter(|name| folder.join(name).is_file())
                .map(Into::into)
                .collect(),
            memory: Vec::new(),
            instruction_set: kernels.name(),
            notices: Vec::new(),
            folder,
        })
    }

    fn look_at_config(&mut self) {
        let folder = self.folder.display();
        match config_file(&self.folder) {
            None => self.notices.push(format!("{folder} has no config.json: the model cannot be loaded without it")),
            Some(path) => {
                if path.ends_with("bert_config.json") {
                    self.notices
                        .push("there is no config.json: bert_config.json, of Google's releases, stands for it".into());
                }
                match ModelConfig::read(&self.folder) {
                    Ok(config) => self.config = Some(config),
                    Err(error) => self.notices.push(error.to_string()),
                }
            }
        }
    }

    fn look_at_weights(&mut self, path: &Path) {
        let found = match weights::find(path) {
            // Of a folder, all that it has; of a file, that file.
            Ok(first) if path.is_dir() => weights::find_all(path).unwrap_or_else(|_| vec![first]),
            Ok(only) => vec![only],
            Err(error) => return self.notices.push(error.to_string()),
        };
        let mut checkpoints = Vec::new();
        for found in &found {
            let checkpoint = Checkpoint::open(found).map_err(|error| self.notices.push(error.to_string())).ok();
            self.weights.push(WeightsFound::on_disk(&self.folder, found, checkpoint.as_ref()));
            checkpoints.push(checkpoint);
        }
        if let Some(Some(checkpoint)) = checkpoints.first() {
            let tensors: Vec<_> = checkpoint.entries().collect();
            self.count(checkpoint.path(), &tensors);
        }
        self.compare(&checkpoints, self.config.as_ref().map(name_rules));
    }

    /// The values of the encoder and of heads, and the memory that the encoder takes.
    fn count(&mut self, path: &Path, tensors: &[(&str, &Entry)]) {
        let rules = self.config.as_ref().map(name_rules);
        let names: HashSet<&str> = tensors.iter().map(|(name, _)| *name).collect();
        let prefix = match rules.map(|rules| rules.prefix(path, |name| names.contains(name))).transpose() {
            Ok(prefix) => prefix.unwrap_or_default(),
            Err(error) => return self.notices.push(error.to_string()),
        };
        let (mut heads, mut encoder) = (BTreeSet::new(), Vec::new());
        for (stored, entry) in tensors.iter().filter(|(_, entry)| is_weight(entry)) {
            let (name, count) = (stored.strip_prefix(&prefix), entry.count() as u64);
            match name.filter(|name| rules.is_none_or(|rules| rules.is_encoder(name))) {
                Some(name) => {
                    self.parameters += count;
                    self.has_pooler |= name.starts_with("pooler.");
                    encoder.push((name, &entry.shape[..]));
                }
                None => {
                    self.head_parameters += count;
                    heads.insert(head(stored));
                }
            }
        }
        self.heads = heads.into_iter().collect();
        if let Some(config) = &self.config {
            let of = |dtype| (dtype, memory::of_weights(config, &encoder, dtype));
            self.memory = [Dtype::Float32, Dtype::Bfloat16, Dtype::Int8].map(of).to_vec();
        }
    }

    /// Says once which format is read where there are several, and whether they are of the same model.
    fn compare(&mut self, checkpoints: &[Option<Checkpoint>], rules: Option<&NameRules>) {
        let [first, others @ ..] = &self.weights[..] else { return };
        let mut notices = Vec::new();
        for (other, checkpoint) in others.iter().zip(&checkpoints[1..]) {
            let mut notice = format!("{} is read; {} is there too and is left aside", first.file, other.file);
            if let (Some(Some(read)), Some(checkpoint), Some(rules)) = (checkpoints.first(), checkpoint, rules)
                && let Some(difference) = difference(read, checkpoint, rules)
            {
                notice += &format!(". They are not of the same model: {difference}");
            }
            notices.push(notice);
        }
        self.notices.append(&mut notices);
    }

    fn look_at_pooling(&mut self) {
        match SentenceConfig::read(&self.folder).map(|config| config.pooling) {
            Ok(Some(Pooling::Known(pool))) => self.pooling = Some(pool),
            Ok(Some(Pooling::Unknown(what))) => {
                self.notices.push(format!("the pooling of its files is not known: {what}"))
            }
            Ok(None) => {}
            Err(error) => self.notices.push(error.to_string()),
        }
    }

    fn look_at_tokenizer(&mut self) {
        let Some(config) = &self.config else { return };
        match Tokenizer::load(&self.folder, config.vocab_size(), &mut blake3::Hasher::new()) {
            Ok(Some(tokenizer)) => {
                let file = ["tokenizer.json", "vocab.txt"].into_iter().find(|name| self.folder.join(name).is_file());
                let file = file.unwrap_or("vocab.json");
                if file == "vocab.txt" && !lower_cases_by_default(&self.folder) {
                    self.notices.push(
                        "no file says whether texts are lower-cased: as vocab.txt has capital letters, they are not"
                            .into(),
                    );
                }
                self.tokenizer = Some(TokenizerFound { file, kind: tokenizer.kind(), tokens: tokenizer.tokens() });
            }
            Ok(None) => self.notices.push(tokenize::missing(&self.folder)),
            Err(error) => self.notices.push(error.to_string()),
        }
    }
}

/// Whether a tensor holds real numbers: position_ids and the like are no parameters.
fn is_weight(entry: &Entry) -> bool {
    use safetensors::Dtype::{BF16, F16, F32, F64};
    matches!(entry.dtype, F64 | F32 | F16 | BF16)
}

/// The module that a head's tensor is in: "cls.predictions" of "cls.predictions.transform.dense.weight".
fn head(name: &str) -> String {
    let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
    module.split('.').take(2).collect::<Vec<_>>().join(".")
}

impl WeightsFound {
    fn on_disk(folder: &Path, found: &Found, checkpoint: Option<&Checkpoint>) -> Self {
        let file = found.path.strip_prefix(folder).unwrap_or(&found.path).to_string_lossy().replace('\\', "/");
        let files: BTreeSet<PathBuf> = found.files().into_iter().collect();
        let bytes = files.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();
        let tensors: Option<Vec<_>> = checkpoint.map(|checkpoint| checkpoint.entries().collect());
        Self::new(found.format, file, bytes, tensors.as_deref())
    }

    /// `tensors`: none where the files cannot be read.
    fn new(format: WeightFormat, file: String, bytes: u64, tensors: Option<&[(&str, &Entry)]>) -> Self {
        let mut dtypes = BTreeMap::new();
        for (_, entry) in tensors.into_iter().flatten().filter(|(_, entry)| item_size(entry.dtype) > 0) {
            *dtypes.entry(entry.dtype.to_string()).or_default() += entry.count() as u64;
        }
        Self { format, file, bytes, tensors: tensors.map(<[_]>::len), dtypes: dtypes.into_iter().collect() }
    }
}

/// The first tensor of the encoder that two checkpoints do not both have, of one shape.
fn difference(a: &Checkpoint, b: &Checkpoint, rules: &NameRules) -> Option<String> {
    let shapes = |checkpoint: &Checkpoint| -> Option<BTreeMap<String, Vec<usize>>> {
        let prefix = checkpoint.prefix(rules).ok()?;
        let entries = checkpoint.entries().filter(|(_, entry)| is_weight(entry));
        let encoder = entries.filter_map(|(stored, entry)| Some((rules.today(stored.strip_prefix(&prefix)?), entry)));
        Some(
            encoder
                .filter(|(name, _)| rules.is_encoder(name))
                .map(|(name, entry)| (name, entry.shape.clone()))
                .collect(),
        )
    };
    let (a, b) = (shapes(a)?, shapes(b)?);
    let name = a.iter().chain(&b).map(|(name, _)| name).find(|name| a.get(*name) != b.get(*name))?;
    let shape =
        |shapes: &BTreeMap<String, Vec<usize>>| shapes.get(name).map_or("missing".into(), |shape| format!("{shape:?}"));
    Some(format!("'{name}' is {} in the one and {} in the other", shape(&a), shape(&b)))
}

/// The family that config.json names, whether it is run or not.
fn model_type(folder: &Path) -> Option<String> {
    let path = config_file(folder)?;
    let json: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let named = json.get("model_type").and_then(Value::as_str).map(Into::into);
    named.or_else(|| path.ends_with("bert_config.json").then(|| "bert".into()))
}
