//! `tokenizer_config.json` and `special_tokens_map.json`: the options that Transformers gives a tokenizer.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::{Error, Result, json};

/// The options of a folder's tokenizer; either file may be absent.
pub(super) struct Config {
    path: PathBuf,
    fields: Map<String, Value>,
    class: Option<String>,
}

impl Config {
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer_config.json");
        let mut fields = object(&path)?;
        // As Transformers: special_tokens_map.json is of the time before added_tokens_decoder. Beside one it is not read at all,
        // without one it has the last word.
        if !fields.contains_key("added_tokens_decoder") {
            fields.extend(object(&folder.join("special_tokens_map.json"))?);
        }
        let class = class(folder, &fields)?;
        Ok(Self { path, fields, class })
    }

    /// The class that Transformers makes the tokenizer of, such as "BertTokenizer"; none where no file says which.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    pub fn invalid(&self, reason: impl std::fmt::Display) -> Error {
        Error::invalid_file(&self.path, reason)
    }

    pub fn unsupported(&self, reason: impl std::fmt::Display) -> Error {
        Error::unsupported_file(&self.path, reason)
    }

    /// A field that is absent or null is left to its default.
    pub fn flag(&self, field: &str) -> Result<Option<bool>> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.invalid(format!("field '{field}' must be true or false, is {other}"))),
        }
    }

    /// A field that is absent or null is left to its default.
    pub fn text(&self, field: &str) -> Result<Option<&str>> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(format!("field '{field}' must be text, is {other}"))),
        }
    }

    /// A special token such as `cls_token`, `[CLS]` where the field is absent.
    pub fn special_token(&self, role: &str) -> Result<AddedToken> {
        self.special_token_or(role, &format!("[{}]", role.to_uppercase()))
    }

    /// A special token such as `cls_token`, with what it is where the field is absent.
    pub fn special_token_or(&self, role: &str, default: &str) -> Result<AddedToken> {
        let field = format!("{role}_token");
        match self.fields.get(&field) {
            None | Some(Value::Null) => Ok(AddedToken::from(default, true)),
            Some(value) => {
                special(value).ok_or_else(|| self.invalid(format!("field '{field}' must be a token, is {value}")))
            }
        }
    }

    /// Special tokens without a role.
    pub fn additional_special_tokens(&self) -> Result<Vec<AddedToken>> {
        let mut tokens = Vec::new();
        for field in ["additional_special_tokens", "extra_special_tokens"] {
            let values: Vec<&Value> = match self.fields.get(field) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(values)) => values.iter().collect(),
                Some(Value::Object(map)) => map.values().collect(),
                Some(other) => {
                    return Err(self.invalid(format!("field '{field}' must be a list of tokens, is {other}")));
                }
            };
            for value in values {
                tokens.push(
                    special(value)
                        .ok_or_else(|| self.invalid(format!("field '{field}' holds {value}, which is no token")))?,
                );
            }
        }
        Ok(tokens)
    }

    /// `added_tokens_decoder`, by ascending id: the tokenizers library numbers tokens in the order they come.
    pub fn added_tokens(&self) -> Result<Vec<(u32, AddedToken)>> {
        let Some(value) = self.fields.get("added_tokens_decoder") else { return Ok(Vec::new()) };
        let wrong = || self.invalid("field 'added_tokens_decoder' must map ids to tokens");
        let mut tokens = Vec::new();
        for (id, token) in value.as_object().ok_or_else(wrong)? {
            let id: u32 = id.parse().map_err(|_| wrong())?;
            tokens.push((id, serde_json::from_value(token.clone()).map_err(|_| wrong())?));
        }
        tokens.sort_by_key(|(id, _)| *id);
        Ok(tokens)
    }
}

/// The class that a file names, or that goes with the model's family where another than BERT's does.
fn class(folder: &Path, fields: &Map<String, Value>) -> Result<Option<String>> {
    let model = object(&folder.join("config.json"))?;
    let named = [fields, &model].into_iter().find_map(|fields| fields.get("tokenizer_class")?.as_str());
    Ok(match named {
        Some(name) => Some(name.strip_suffix("Fast").unwrap_or(name).to_owned()),
        None => (model.get("model_type").and_then(Value::as_str) == Some("mpnet")).then(|| "MPNetTokenizer".into()),
    })
}

/// A token written as text, or as an object with its content and how it takes the space beside it.
fn special(value: &Value) -> Option<AddedToken> {
    let content = value.as_str().or_else(|| value.get("content")?.as_str())?;
    let flag = |field| value.get(field).and_then(Value::as_bool).unwrap_or(false);
    Some(
        AddedToken::from(content, true)
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"))
            .single_word(flag("single_word"))
            .normalized(flag("normalized")),
    )
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    match json::read(path)? {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Error::invalid_file(path, "is not a JSON object")),
    }
}
