//! The fields of a `config.json`, with errors that name the file and the field.

use std::path::Path;

use serde_json::{Map, Value};

use super::activation::HiddenAct;
use crate::{Error, Result, json};

/// A parsed `config.json`, or an object in it.
pub(super) struct Fields<'a> {
    path: &'a Path,
    map: Map<String, Value>,
    /// What stands before the names of fields in messages: the objects that they are in.
    within: String,
}

impl<'a> Fields<'a> {
    pub fn parse(text: &[u8], path: &'a Path) -> Result<Self> {
        match json::parse(text, path)? {
            Value::Object(map) => Ok(Self { path, map, within: String::new() }),
            _ => Err(Error::invalid_file(path, "is not a JSON object")),
        }
    }

    /// A field that is absent or null counts as left to its default, as in Transformers.
    fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    /// A field's name in messages.
    fn name(&self, field: &str) -> String {
        format!("{}{field}", self.within)
    }

    /// The object that a field is, if it is there.
    pub fn object(&self, field: &str) -> Result<Option<Self>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Self { path: self.path, map: map.clone(), within: format!("{}.", self.name(field)) }))
            }
            Some(value) => Err(self.invalid(format!("field '{}' must be an object, is {value}", self.name(field)))),
        }
    }

    /// Whether a field has a value.
    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Whether a field is there and null.
    pub fn is_null(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(Value::is_null)
    }

    pub fn invalid(&self, reason: impl std::fmt::Display) -> Error {
        Error::invalid_file(self.path, reason)
    }

    pub fn unsupported(&self, reason: impl std::fmt::Display) -> Error {
        Error::unsupported_file(self.path, reason)
    }

    fn missing(&self, field: &str) -> Error {
        self.invalid(format!("field '{}' is missing", self.name(field)))
    }

    pub fn string(&self, field: &str) -> Result<&str> {
        let value = self.get(field).ok_or_else(|| self.missing(field))?;
        let field = self.name(field);
        value.as_str().ok_or_else(|| self.invalid(format!("field '{field}' must be a string, is {value}")))
    }

    pub fn string_or<'s>(&'s self, field: &str, default: &'s str) -> Result<&'s str> {
        if self.get(field).is_none() { Ok(default) } else { self.string(field) }
    }

    /// A count of at least `least`, which must be there: a default would be a guess about the weights.
    pub fn count(&self, field: &str, least: usize) -> Result<usize> {
        let value = self.get(field).ok_or_else(|| self.missing(field))?;
        // A u32 is more than any dimension of a model, and keeps products of two within 64 bits.
        value.as_u64().filter(|&n| n >= least as u64 && n <= u64::from(u32::MAX)).map(|n| n as usize).ok_or_else(|| {
            let field = self.name(field);
            self.invalid(format!("field '{field}' must be a whole number from {least} to {}, is {value}", u32::MAX))
        })
    }

    /// A count of at least `least`.
    pub fn count_or(&self, field: &str, default: usize, least: usize) -> Result<usize> {
        if self.get(field).is_none() { Ok(default) } else { self.count(field, least) }
    }

    /// A finite number that is not negative.
    pub fn number_or(&self, field: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_f64().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| {
            self.invalid(format!("field '{}' must be a number of at least 0, is {value}", self.name(field)))
        })
    }

    /// Words of a list, if it is there.
    pub fn list(&self, field: &str) -> Result<Option<Vec<&str>>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let words: Option<Vec<&str>> = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        words
            .map(Some)
            .ok_or_else(|| self.invalid(format!("field '{}' must be a list of strings, is {value}", self.name(field))))
    }

    /// A count, or none where the field is absent or not positive: −1 and 0 stand for "not given".
    pub fn positive(&self, field: &str) -> Result<Option<usize>> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if value.as_i64().is_some_and(|n| n <= 0) => Ok(None),
            Some(_) => self.count(field, 1).map(Some),
        }
    }

    /// Words, lower-cased: a list of them, or one text that has `separator` between them. None where the field is absent.
    pub fn strings(&self, field: &str, separator: char) -> Result<Vec<String>> {
        let wrong =
            |value: &Value| self.invalid(format!("field '{field}' must be text or a list of texts, is {value}"));
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text.split(separator).map(|word| word.trim().to_lowercase()).collect()),
            Some(value) => value
                .as_array()
                .ok_or_else(|| wrong(value))?
                .iter()
                .map(|word| word.as_str().map(str::to_lowercase).ok_or_else(|| wrong(value)))
                .collect(),
        }
    }

    pub fn flag(&self, field: &str) -> Result<bool> {
        self.flag_or(field, false)
    }

    pub fn flag_or(&self, field: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let field = self.name(field);
        value.as_bool().ok_or_else(|| self.invalid(format!("field '{field}' must be true or false, is {value}")))
    }

    /// The activation that a field names.
    pub fn activation_or(&self, field: &str, default: &str) -> Result<HiddenAct> {
        let name = self.string_or(field, default)?;
        HiddenAct::named(name).ok_or_else(|| {
            self.unsupported(format!("{field} '{name}' is not known; known: {}", HiddenAct::names().join(", ")))
        })
    }

    /// Whether heads of one size make up a hidden state.
    pub fn divides(&self, heads: (&str, usize), hidden: (&str, usize)) -> Result<()> {
        match hidden.1.is_multiple_of(heads.1) {
            true => Ok(()),
            false => Err(self.invalid(format!("{} {} does not divide {} {}", heads.0, heads.1, hidden.0, hidden.1))),
        }
    }
}
