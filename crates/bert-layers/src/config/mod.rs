//! `config.json` → one description of the architecture.

mod activation;
mod bert;
mod json;
mod modernbert;
mod nomic_bert;
mod roberta;
mod rope;
mod sentence;

use std::path::{Path, PathBuf};

pub use activation::HiddenAct;
pub(crate) use activation::xielu;
pub use bert::BertConfig;
pub use modernbert::{LayerTypes, ModernBertConfig};
pub use nomic_bert::NomicBertConfig;
pub use roberta::RobertaConfig;
pub(crate) use sentence::SENTENCE_FILES;
pub use sentence::{Pooling, SentenceConfig};

use crate::{Error, Result};
use json::Fields;

/// The architecture of a model, read from its `config.json`. Fields are named as in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelConfig {
    /// `model_type` "bert".
    Bert(BertConfig),
    /// "roberta", "xlm-roberta", "camembert".
    Roberta(RobertaConfig),
    /// "modernbert".
    ModernBert(ModernBertConfig),
    /// "nomic_bert".
    NomicBert(NomicBertConfig),
}

/// What is asked of any family.
struct Sizes {
    layers: usize,
    hidden: usize,
    heads: usize,
    vocab: usize,
    types: usize,
    max_tokens: usize,
}

/// The `model_type`s that can be loaded.
pub const MODEL_TYPES: &[&str] = &["bert", "roberta", "xlm-roberta", "camembert", "modernbert", "nomic_bert"];

/// The name of the file in BERT's first releases.
const GOOGLE_CONFIG: &str = "bert_config.json";

/// The file of a folder that describes the architecture.
pub(crate) fn config_file(folder: &Path) -> Option<PathBuf> {
    ["config.json", GOOGLE_CONFIG].into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

impl ModelConfig {
    /// Reads `folder/config.json`; without it `folder/bert_config.json`, as Google released BERT.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] for a file that is damaged, lacks a field or contradicts itself;
    /// [`Error::ModelUnsupported`] for another family, or a variant of one that is not run.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = config_file(folder).unwrap_or_else(|| folder.join("config.json"));
        let text = std::fs::read(&path).map_err(|e| Error::invalid_file(&path, e))?;
        Self::parse(&text, &path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let fields = Fields::parse(text, path)?;
        // Google's file is of one family only and does not name it.
        let family = match path.ends_with(GOOGLE_CONFIG) {
            true => fields.string_or("model_type", "bert")?,
            false => fields.string("model_type")?,
        };
        // One of the names that are known, which live as long as the program.
        let known = MODEL_TYPES.iter().copied().find(|known| *known == family).unwrap_or_default();
        Ok(match known {
            "bert" => ModelConfig::Bert(BertConfig::from_fields(&fields)?),
            "roberta" | "xlm-roberta" | "camembert" => {
                ModelConfig::Roberta(RobertaConfig::from_fields(known, &fields)?)
            }
            "modernbert" => ModelConfig::ModernBert(ModernBertConfig::from_fields(&fields)?),
            "nomic_bert" => ModelConfig::NomicBert(NomicBertConfig::from_fields(&fields)?),
            _ => {
                return Err(Error::ModelUnsupported(format!(
                    "{}: model_type '{family}' is not supported; supported: {}",
                    path.display(),
                    MODEL_TYPES.join(", ")
                )));
            }
        })
    }

    /// The family, as `config.json` names it.
    pub fn model_type(&self) -> &'static str {
        match self {
            ModelConfig::Bert(_) => "bert",
            ModelConfig::Roberta(c) => c.model_type,
            ModelConfig::ModernBert(_) => "modernbert",
            ModelConfig::NomicBert(_) => "nomic_bert",
        }
    }

    fn sizes(&self) -> Sizes {
        match self {
            ModelConfig::Bert(c) => c.sizes(),
            ModelConfig::Roberta(c) => c.sizes(),
            ModelConfig::ModernBert(c) => c.sizes(),
            ModelConfig::NomicBert(c) => c.sizes(),
        }
    }

    /// Whether a norm follows the last block: there are then two ways to see the last layer.
    pub fn has_final_norm(&self) -> bool {
        matches!(self, ModelConfig::ModernBert(_))
    }

    /// Encoder blocks; there is one layer more, the embedding output.
    pub fn num_layers(&self) -> usize {
        self.sizes().layers
    }

    /// The width of a hidden state.
    pub fn hidden_size(&self) -> usize {
        self.sizes().hidden
    }

    /// Attention heads of a block.
    pub fn num_heads(&self) -> usize {
        self.sizes().heads
    }

    /// Rows of the word embedding: ids are 0 to this, exclusive.
    pub fn vocab_size(&self) -> usize {
        self.sizes().vocab
    }

    /// Token types: type ids are 0 to this, exclusive. A family without them has one, 0.
    pub fn type_vocab_size(&self) -> usize {
        self.sizes().types
    }

    /// The most tokens a text may have, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.sizes().max_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERT: &str = r#"{"model_type":"bert","vocab_size":211,"hidden_size":48,"num_hidden_layers":4,"num_attention_heads":4,
        "intermediate_size":112,"hidden_act":"gelu","max_position_embeddings":80,"type_vocab_size":2,"layer_norm_eps":1e-12}"#;

    fn parse(text: &str) -> Result<ModelConfig> {
        ModelConfig::parse(text.as_bytes(), Path::new("config.json"))
    }

    fn message(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn reads_bert() {
        let config = parse(BERT).expect("a sound config");
        assert_eq!(
            (config.num_layers(), config.hidden_size(), config.num_heads(), config.max_tokens()),
            (4, 48, 4, 80)
        );
    }

    #[test]
    fn a_size_that_is_missing_is_not_guessed() {
        for field in ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"] {
            let text = BERT.replacen(&format!("\"{field}\""), "\"other\"", 1);
            assert!(message(&text).contains(&format!("'{field}' is missing")), "{}", message(&text));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (from, to, says) in [
            (r#""num_attention_heads":4"#, r#""num_attention_heads":5"#, "does not divide"),
            (r#""hidden_size":48"#, r#""hidden_size":"48""#, "hidden_size"),
            (r#""hidden_size":48"#, r#""hidden_size":-1"#, "hidden_size"),
            (r#""hidden_size":48"#, r#""hidden_size":48.5"#, "hidden_size"),
            (r#""hidden_size":48"#, r#""hidden_size":0"#, "hidden_size"),
            (r#""layer_norm_eps":1e-12"#, r#""layer_norm_eps":-1"#, "layer_norm_eps"),
            (r#""hidden_act":"gelu""#, r#""hidden_act":"gelo""#, "gelo"),
            (r#""model_type":"bert""#, r#""model_type":"gpt2""#, "gpt2"),
            (r#""model_type":"bert","#, "", "model_type"),
            (r#""type_vocab_size":2"#, r#""position_embedding_type":"relative_key""#, "relative_key"),
            (r#""type_vocab_size":2"#, r#""is_decoder":true"#, "is_decoder"),
            ("{", "[", "config.json"),
        ] {
            let text = BERT.replacen(from, to, 1);
            assert_ne!(text, BERT, "{from} is in the config");
            assert!(message(&text).contains(says), "{says}: {}", message(&text));
        }
    }
}
