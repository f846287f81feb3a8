//! How a model's authors make one vector of a text: the files that sentence-transformers writes beside a model.

use std::path::Path;

use serde_json::{Map, Value};

use super::json::Fields;
use crate::pool::Pool;
use crate::{Error, Result, json};

/// What modules.json, 1_Pooling/config.json, sentence_bert_config.json and config_sentence_transformers.json say, as far as they
/// are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SentenceConfig {
    /// How token vectors become one. None: the files do not say.
    pub pooling: Option<Pooling>,
    /// Whether vectors are made unit length.
    pub normalize: bool,
    /// Whether the prompt's tokens are pooled with the others.
    pub exclude_prompt: bool,
    /// Texts that are put before inputs, by name.
    pub prompts: Vec<(String, String)>,
    /// The prompt that is used where none is asked for.
    pub default_prompt: Option<String>,
    /// Whether texts are made lower case first, whatever the tokenizer does.
    pub lower_case: bool,
    /// The most tokens that the vectors are made for; it may be fewer than the model takes.
    pub max_tokens: Option<usize>,
}

/// What the model's files say about pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pooling {
    /// A way of pooling that this library knows.
    Known(Pool),
    /// Something else, in words.
    Unknown(String),
}

/// The files that are read, for who wants to know whether they changed.
pub(crate) const SENTENCE_FILES: [&str; 4] =
    ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"];

/// sentence-transformers' names of pooling modes, the field of its older files, and ours.
const POOLS: [(&str, &str, Option<Pool>); 6] = [
    ("cls", "pooling_mode_cls_token", Some(Pool::Cls)),
    ("max", "pooling_mode_max_tokens", Some(Pool::Max)),
    ("mean", "pooling_mode_mean_tokens", Some(Pool::Mean)),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", None),
    ("weightedmean", "pooling_mode_weightedmean_tokens", Some(Pool::WeightedMean)),
    ("lasttoken", "pooling_mode_lasttoken", Some(Pool::Last)),
];

impl SentenceConfig {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] for a file that is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut config = Self::default();
        let pooling = match json::read(&folder.join("modules.json"))? {
            Some(modules) => config.read_modules(&folder.join("modules.json"), &modules)?,
            None => Some("1_Pooling".to_owned()),
        };
        if let Some(pooling) = pooling {
            config.read_pooling(&folder.join(pooling).join("config.json"))?;
        }
        config.read_limit(&folder.join("sentence_bert_config.json"))?;
        config.read_prompts(&folder.join("config_sentence_transformers.json"))?;
        Ok(config)
    }

    /// The steps from text to vector; gives the folder of the pooling step, if that is the way it is made.
    fn read_modules(&mut self, path: &Path, modules: &Value) -> Result<Option<String>> {
        let wrong = || Error::invalid_file(path, "is not a list of modules with 'type' and 'path'");
        let mut pooling = None;
        for module in modules.as_array().ok_or_else(wrong)? {
            let field = |name| module.get(name).and_then(Value::as_str);
            let (kind, at) = field("type").zip(field("path")).ok_or_else(wrong)?;
            match kind.rsplit('.').next().unwrap_or(kind) {
                "Transformer" => {}
                "Pooling" if pooling.is_none() => pooling = Some(at.to_owned()),
                "Normalize" if pooling.is_some() => self.normalize = true,
                _ => {
                    self.pooling = Some(Pooling::Unknown(format!("modules.json has a step {kind}")));
                    return Ok(None);
                }
            }
        }
        if pooling.as_ref().is_some_and(|at| !is_plain(at)) {
            return Err(wrong());
        }
        Ok(pooling)
    }

    fn read_pooling(&mut self, path: &Path) -> Result<()> {
        let Some(fields) = object(path)? else { return Ok(()) };
        let by_field = || POOLS.iter().filter(|(_, field, _)| fields.get(*field) == Some(&Value::Bool(true)));
        let named: Vec<&str> = match fields.get("pooling_mode") {
            None | Some(Value::Null) => by_field().map(|(name, ..)| *name).collect(),
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(other) => return Err(Error::invalid_file(path, format!("field 'pooling_mode' is {other}"))),
        };
        let pool = match named.as_slice() {
            [] => Some(Pool::Mean), // sentence-transformers' own default
            [name] => POOLS.iter().find(|(known, ..)| known == name).and_then(|(.., pool)| *pool),
            _ => None,
        };
        let unknown = || Pooling::Unknown(format!("1_Pooling/config.json asks for {}", named.join(" and ")));
        self.pooling = Some(pool.map_or_else(unknown, Pooling::Known));
        self.exclude_prompt = fields.get("include_prompt") == Some(&Value::Bool(false));
        Ok(())
    }

    fn read_limit(&mut self, path: &Path) -> Result<()> {
        if let Some(bytes) = bytes(path)? {
            let fields = Fields::parse(&bytes, path)?;
            let unlimited = usize::MAX;
            let limit = fields.count_or("max_seq_length", unlimited, 1)?;
            self.max_tokens = Some(limit).filter(|&limit| limit != unlimited);
            self.lower_case = fields.flag("do_lower_case")?;
        }
        Ok(())
    }

    fn read_prompts(&mut self, path: &Path) -> Result<()> {
        let Some(fields) = object(path)? else { return Ok(()) };
        let wrong =
            |what: &str| Error::invalid_file(path, format!("field '{what}' is not as sentence-transformers writes it"));
        match fields.get("prompts") {
            None | Some(Value::Null) => {}
            Some(Value::Object(prompts)) => {
                for (name, prompt) in prompts {
                    self.prompts.push((name.clone(), prompt.as_str().ok_or_else(|| wrong("prompts"))?.to_owned()));
                }
            }
            Some(_) => return Err(wrong("prompts")),
        }
        match fields.get("default_prompt_name") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if self.prompts.iter().any(|(known, _)| known == name) => {
                self.default_prompt = Some(name.clone());
            }
            Some(_) => return Err(wrong("default_prompt_name")),
        }
        Ok(())
    }
}

/// A folder within the model's own.
fn is_plain(path: &str) -> bool {
    !path.split(['/', '\\']).any(|part| part == "..") && !Path::new(path).is_absolute()
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    if !path.is_file() {
        return Ok(None);
    }
    std::fs::read(path).map(Some).map_err(|e| Error::invalid_file(path, e))
}

fn object(path: &Path) -> Result<Option<Map<String, Value>>> {
    match json::read(path)? {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(Error::invalid_file(path, "is not a JSON object")),
    }
}
