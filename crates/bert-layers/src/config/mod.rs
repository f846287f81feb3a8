//! `config.json` → one description of the architecture.

mod activation;
mod albert;
mod bert;
mod deberta;
mod distilbert;
mod electra;
mod ernie;
mod json;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod rembert;
mod roberta;
mod rope;
mod sentence;

use std::path::{Path, PathBuf};

pub use activation::HiddenAct;
pub(crate) use activation::xielu;
pub use albert::AlbertConfig;
pub use bert::BertConfig;
pub use deberta::DebertaConfig;
pub use distilbert::DistilBertConfig;
pub use electra::ElectraConfig;
pub use ernie::ErnieConfig;
pub use modernbert::{LayerTypes, ModernBertConfig};
pub use mpnet::MpnetConfig;
pub use nomic_bert::NomicBertConfig;
pub use rembert::RemBertConfig;
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
    /// "roberta", "xlm-roberta", "camembert", "data2vec-text".
    Roberta(RobertaConfig),
    /// "deberta", "deberta-v2".
    Deberta(DebertaConfig),
    /// "distilbert".
    DistilBert(DistilBertConfig),
    /// "electra".
    Electra(ElectraConfig),
    /// "ernie".
    Ernie(ErnieConfig),
    /// "albert".
    Albert(AlbertConfig),
    /// "mpnet".
    Mpnet(MpnetConfig),
    /// "rembert".
    RemBert(RemBertConfig),
    /// "splinter".
    Splinter(BertConfig),
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
pub const MODEL_TYPES: &[&str] = &[
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "ernie",
    "albert",
    "mpnet",
    "deberta",
    "deberta-v2",
    "modernbert",
    "nomic_bert",
    "data2vec-text",
    "rembert",
    "splinter",
];

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
            "roberta" | "xlm-roberta" | "camembert" | "data2vec-text" => {
                ModelConfig::Roberta(RobertaConfig::from_fields(known, &fields)?)
            }
            "deberta" | "deberta-v2" => ModelConfig::Deberta(DebertaConfig::from_fields(known, &fields)?),
            "distilbert" => ModelConfig::DistilBert(DistilBertConfig::from_fields(&fields)?),
            "electra" => ModelConfig::Electra(ElectraConfig::from_fields(&fields)?),
            "ernie" => ModelConfig::Ernie(ErnieConfig::from_fields(&fields)?),
            "albert" => ModelConfig::Albert(AlbertConfig::from_fields(&fields)?),
            "mpnet" => ModelConfig::Mpnet(MpnetConfig::from_fields(&fields)?),
            "rembert" => ModelConfig::RemBert(RemBertConfig::from_fields(&fields)?),
            "splinter" => ModelConfig::Splinter(BertConfig::from_fields(&fields)?),
            "modernbert" => ModelConfig::ModernBert(ModernBertConfig::from_fields(&fields)?),
            "nomic_bert" => ModelConfig::NomicBert(NomicBertConfig::from_fields(&fields)?),
            _ => {
                let known = MODEL_TYPES.join(", ");
                return Err(fields.unsupported(format!("model_type '{family}' is not supported; supported: {known}")));
            }
        })
    }

    /// The family, as `config.json` names it.
    pub fn model_type(&self) -> &'static str {
        match self {
            ModelConfig::Bert(_) => "bert",
            ModelConfig::Roberta(c) => c.model_type,
            ModelConfig::Deberta(c) => c.model_type,
            ModelConfig::DistilBert(_) => "distilbert",
            ModelConfig::Electra(_) => "electra",
            ModelConfig::Ernie(_) => "ernie",
            ModelConfig::Albert(_) => "albert",
            ModelConfig::Mpnet(_) => "mpnet",
            ModelConfig::RemBert(_) => "rembert",
            ModelConfig::Splinter(_) => "splinter",
            ModelConfig::ModernBert(_) => "modernbert",
            ModelConfig::NomicBert(_) => "nomic_bert",
        }
    }

    fn sizes(&self) -> Sizes {
        match self {
            ModelConfig::Bert(c) => c.sizes(),
            ModelConfig::Roberta(c) => c.sizes(),
            ModelConfig::Deberta(c) => c.sizes(),
            ModelConfig::DistilBert(c) => c.sizes(),
            ModelConfig::Electra(c) => c.sizes(),
            ModelConfig::Ernie(c) => c.sizes(),
            ModelConfig::Albert(c) => c.sizes(),
            ModelConfig::Mpnet(c) => c.sizes(),
            ModelConfig::RemBert(c) => c.sizes(),
            ModelConfig::Splinter(c) => c.sizes(),
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

    /// As the hub has them: written by Transformers 2 to 4, without what was the default then.
    #[test]
    fn reads_every_family() {
        let common = r#""vocab_size":300,"hidden_size":48,"num_hidden_layers":4,"num_attention_heads":4,"intermediate_size":112,
            "max_position_embeddings":514,"hidden_act":"gelu","layer_norm_eps":1e-05"#;
        for (rest, max_tokens, types) in [
            (
                r#""model_type":"roberta","pad_token_id":1,"type_vocab_size":1,"position_embedding_type":"absolute""#,
                512,
                1,
            ),
            (r#""model_type":"xlm-roberta","pad_token_id":1,"type_vocab_size":1,"output_past":true"#, 512, 1),
            (r#""model_type":"camembert","type_vocab_size":1"#, 512, 1),
            (r#""model_type":"roberta","pad_token_id":0,"type_vocab_size":2"#, 513, 2),
            (r#""model_type":"electra","embedding_size":24,"type_vocab_size":2,"summary_type":"first""#, 514, 2),
            (r#""model_type":"ernie","task_type_vocab_size":3,"type_vocab_size":4,"use_task_id":true"#, 514, 4),
            (
                r#""model_type":"albert","embedding_size":24,"type_vocab_size":2,"inner_group_num":1,"num_hidden_groups":1,"net_structure_type":0"#,
                514,
                2,
            ),
            (r#""model_type":"mpnet","relative_attention_num_buckets":32"#, 512, 1),
        ] {
            let config = parse(&format!("{{{common},{rest}}}")).expect(rest);
            assert!(rest.contains(&format!(r#""model_type":"{}""#, config.model_type())), "{rest}");
            assert_eq!((config.num_layers(), config.hidden_size(), config.num_heads()), (4, 48, 4), "{rest}");
            assert_eq!(
                (config.max_tokens(), config.type_vocab_size(), config.vocab_size()),
                (max_tokens, types, 300),
                "{rest}"
            );
        }
        let distilbert = r#"{"model_type":"distilbert","activation":"gelu","dim":48,"hidden_dim":112,"max_position_embeddings":80,
            "n_heads":4,"n_layers":3,"sinusoidal_pos_embds":true,"tie_weights_":true,"vocab_size":300}"#;
        let config = parse(distilbert).expect("a sound config");
        assert_eq!((config.num_layers(), config.hidden_size(), config.num_heads()), (3, 48, 4));
        assert_eq!((config.max_tokens(), config.type_vocab_size(), config.model_type()), (80, 1, "distilbert"));
    }

    #[test]
    fn families_say_what_is_wrong() {
        for (rest, says) in [
            (r#""model_type":"roberta","pad_token_id":79"#, "pad_token_id 79"),
            (r#""model_type":"roberta","pad_token_id":-1"#, "pad_token_id"),
            (r#""model_type":"camembert","pad_token_id":4294967295"#, "pad_token_id"),
            (r#""model_type":"xlm-roberta","position_embedding_type":"relative_key_query""#, "relative_key_query"),
            (r#""model_type":"distilbert""#, "'dim' is missing"),
            (
                r#""model_type":"distilbert","dim":48,"n_layers":2,"n_heads":5,"hidden_dim":9"#,
                "n_heads 5 does not divide dim 48",
            ),
            (
                r#""model_type":"distilbert","dim":48,"n_layers":2,"n_heads":4,"hidden_dim":9,"activation":"gelo""#,
                "activation 'gelo'",
            ),
            (r#""model_type":"electra""#, "'embedding_size' is missing"),
            (r#""model_type":"electra","embedding_size":0"#, "embedding_size"),
            (r#""model_type":"ernie","use_task_id":1"#, "use_task_id"),
            (r#""model_type":"ernie","use_task_id":true,"task_type_vocab_size":0"#, "task_type_vocab_size"),
            (r#""model_type":"albert","embedding_size":24,"num_hidden_groups":5"#, "num_hidden_groups 5"),
            (r#""model_type":"albert","embedding_size":24,"num_hidden_groups":0"#, "num_hidden_groups"),
            (r#""model_type":"albert","embedding_size":24,"inner_group_num":2"#, "inner_group_num 2"),
            (r#""model_type":"albert","embedding_size":24,"num_hidden_layers":4294967295"#, "num_hidden_layers"),
            (r#""model_type":"mpnet","relative_attention_num_buckets":16"#, "relative_attention_num_buckets 16"),
            (r#""model_type":"mpnet","max_position_embeddings":2"#, "max_position_embeddings"),
        ] {
            let text = format!("{{{},{rest}}}", &BERT[1..BERT.len() - 1].replacen(r#""model_type":"bert","#, "", 1));
            assert!(message(&text).contains(says), "{rest}: {}", message(&text));
        }
    }
}
