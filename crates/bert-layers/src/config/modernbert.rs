//! ModernBERT's `config.json`, as Transformers 4 and 5 write it.

use super::activation::HiddenAct;
use super::json::Fields;
use super::{Sizes, rope};
use crate::Result;

/// What `ModernBertConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of config.json
pub struct ModernBertConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_activation: HiddenAct,
    pub max_position_embeddings: usize,
    pub norm_eps: f32,
    pub norm_bias: bool,
    pub attention_bias: bool,
    pub mlp_bias: bool,
    /// Rows that a local layer's row attends to: half of them before it, half after it, and itself.
    pub local_attention: usize,
    pub layer_types: LayerTypes,
    /// θ of layers with full attention: `global_rope_theta`, or in `rope_parameters`.
    pub global_rope_theta: f64,
    /// θ of layers with sliding attention.
    pub local_rope_theta: f64,
}

/// Which layers attend to whole texts ("full_attention"); the others are local ("sliding_attention").
#[derive(Debug, Clone, PartialEq)]
pub enum LayerTypes {
    /// The first and every n-th after it: `global_attn_every_n_layers`.
    FullEvery(usize),
    /// `layer_types`: for each whether it does.
    Full(Vec<bool>),
}

impl LayerTypes {
    /// Whether a block, counted from 0, attends to whole texts.
    pub fn is_full(&self, block: usize) -> bool {
        match self {
            LayerTypes::FullEvery(n) => block.is_multiple_of(*n),
            LayerTypes::Full(layers) => layers[block],
        }
    }
}

impl ModernBertConfig {
    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        let num_hidden_layers = fields.count("num_hidden_layers", 1)?;
        let (global_rope_theta, local_rope_theta) = thetas(fields)?;
        let config = Self {
            vocab_size: fields.count("vocab_size", 1)?,
            hidden_size: fields.count("hidden_size", 1)?,
            num_hidden_layers,
            num_attention_heads: fields.count("num_attention_heads", 1)?,
            intermediate_size: fields.count("intermediate_size", 1)?,
            hidden_activation: fields.activation_or("hidden_activation", "gelu")?,
            max_position_embeddings: fields.count("max_position_embeddings", 1)?,
            norm_eps: fields.number_or("norm_eps", 1e-5)? as f32,
            norm_bias: fields.flag("norm_bias")?,
            attention_bias: fields.flag("attention_bias")?,
            mlp_bias: fields.flag("mlp_bias")?,
            local_attention: fields.count_or("local_attention", 128, 0)?,
            layer_types: layer_types(fields, num_hidden_layers)?,
            global_rope_theta,
            local_rope_theta,
        };
        let heads = ("num_attention_heads", config.num_attention_heads);
        fields.divides(heads, ("hidden_size", config.hidden_size))?;
        let dim = config.hidden_size / config.num_attention_heads;
        rope::even(fields, "a head", dim)?;
        if fields.count_or("head_dim", dim, 1)? != dim {
            return Err(fields.unsupported("head_dim other than hidden_size / num_attention_heads is not supported"));
        }
        Ok(config)
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            vocab: self.vocab_size,
            types: 1,
            max_tokens: self.max_position_embeddings,
        }
    }
}

/// θ of full and of local layers: `rope_parameters` has one object for each in Transformers 5, and wins over the fields of
/// Transformers 4.
fn thetas(fields: &Fields) -> Result<(f64, f64)> {
    rope::no_scaling(fields)?;
    let global = rope::positive(fields, "global_rope_theta", 160_000.0)?;
    // A null is not left to its default: "as the global ones".
    let local_default = if fields.is_null("local_rope_theta") { global } else { 10_000.0 };
    let local = rope::positive(fields, "local_rope_theta", local_default)?;
    let Some(parameters) = fields.object("rope_parameters")? else { return Ok((global, local)) };
    if parameters.has("rope_theta") || parameters.has("rope_type") {
        return Err(parameters.invalid(
            "rope_parameters must have an object for 'full_attention' and one for 'sliding_attention', not one for all layers",
        ));
    }
    let theta = |layers: &str, default| rope::theta(parameters.object(layers)?.as_ref(), default);
    Ok((theta("full_attention", global)?, theta("sliding_attention", local)?))
}

fn layer_types(fields: &Fields, layers: usize) -> Result<LayerTypes> {
    let Some(types) = fields.list("layer_types")? else {
        return Ok(LayerTypes::FullEvery(fields.count_or("global_attn_every_n_layers", 3, 1)?));
    };
    if types.len() != layers {
        let message = format!("layer_types has {} layers, num_hidden_layers is {layers}", types.len());
        return Err(fields.invalid(message));
    }
    let full = |layer_type: &&str| match *layer_type {
        "full_attention" => Ok(true),
        "sliding_attention" => Ok(false),
        other => Err(fields
            .unsupported(format!("layer_types names '{other}', known are 'full_attention' and 'sliding_attention'"))),
    };
    Ok(LayerTypes::Full(types.iter().map(full).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ModelConfig;
    use super::*;

    const SIZES: &str = r#""model_type":"modernbert","vocab_size":211,"hidden_size":48,"num_hidden_layers":6,"num_attention_heads":4,
        "intermediate_size":112,"max_position_embeddings":128"#;

    fn parse(more: &str) -> Result<ModernBertConfig> {
        match ModelConfig::parse(format!("{{{SIZES}{more}}}").as_bytes(), Path::new("config.json"))? {
            ModelConfig::ModernBert(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    fn full(config: &ModernBertConfig) -> Vec<bool> {
        (0..config.num_hidden_layers).map(|block| config.layer_types.is_full(block)).collect()
    }

    /// The values that Transformers' own class has for these fields, of 4 and of 5.
    #[test]
    fn both_ways_of_writing_it_mean_the_same() {
        let four = parse(
            r#","global_rope_theta":80000.0,"local_rope_theta":500,"global_attn_every_n_layers":2,"local_attention":16,
            "norm_eps":1e-05,"position_embedding_type":"absolute","layer_norm_eps":1"#,
        );
        let five = parse(
            r#","rope_parameters":{"full_attention":{"rope_theta":80000.0,"rope_type":"default"},
            "sliding_attention":{"rope_theta":500.0,"rope_type":"default"}},"layer_types":["full_attention","sliding_attention",
            "full_attention","sliding_attention","full_attention","sliding_attention"],"local_attention":16,"norm_eps":1e-05"#,
        );
        let (four, five) = (four.expect("sound"), five.expect("sound"));
        assert_eq!(full(&four), full(&five));
        assert_eq!(ModernBertConfig { layer_types: five.layer_types.clone(), ..four }, five);
        assert_eq!((five.global_rope_theta, five.local_rope_theta, five.local_attention), (80000.0, 500.0, 16));
    }

    #[test]
    fn what_is_left_out_has_transformers_defaults() {
        let config = parse("").expect("sound");
        assert_eq!((config.global_rope_theta, config.local_rope_theta), (160_000.0, 10_000.0));
        assert_eq!((config.local_attention, config.norm_eps), (128, 1e-5));
        assert_eq!(full(&config), [true, false, false, true, false, false]);
        assert_eq!((config.norm_bias, config.attention_bias, config.mlp_bias), (false, false, false));
        let config = parse(r#","local_rope_theta":null"#).expect("sound");
        assert_eq!(config.local_rope_theta, 160_000.0);
        let config = parse(r#","rope_parameters":{"sliding_attention":{"rope_theta":7}},"global_rope_theta":9"#);
        let config = config.expect("sound");
        assert_eq!((config.global_rope_theta, config.local_rope_theta), (9.0, 7.0));
    }

    #[test]
    fn says_what_is_wrong() {
        for (more, code, says) in [
            (r#","layer_types":["full_attention"]"#, "ERR_MODEL_INVALID", "num_hidden_layers is 6"),
            (r#","layer_types":[1]"#, "ERR_MODEL_INVALID", "layer_types"),
            (r#","layer_types":"full_attention""#, "ERR_MODEL_INVALID", "layer_types"),
            (
                r#","layer_types":["chunked_attention","","","","",""]"#,
                "ERR_MODEL_UNSUPPORTED",
                "layer_types names 'chunked_attention'",
            ),
            (r#","global_attn_every_n_layers":0"#, "ERR_MODEL_INVALID", "global_attn_every_n_layers"),
            (r#","rope_scaling":{"rope_type":"yarn","factor":2}"#, "ERR_MODEL_UNSUPPORTED", "yarn"),
            (r#","rope_parameters":{"full_attention":{"rope_type":"linear"}}"#, "ERR_MODEL_UNSUPPORTED", "linear"),
            (r#","rope_parameters":{"full_attention":{"rope_theta":0}}"#, "ERR_MODEL_INVALID", "rope_theta"),
            (
                r#","rope_parameters":{"full_attention":{"rope_theta":"1"}}"#,
                "ERR_MODEL_INVALID",
                "rope_parameters.full_attention.rope_theta",
            ),
            (r#","rope_parameters":{"full_attention":7}"#, "ERR_MODEL_INVALID", "rope_parameters.full_attention"),
            (r#","rope_parameters":{"rope_theta":7}"#, "ERR_MODEL_INVALID", "sliding_attention"),
            (
                r#","rope_parameters":{"full_attention":{"partial_rotary_factor":0.5}}"#,
                "ERR_MODEL_UNSUPPORTED",
                "partial",
            ),
            (r#","local_rope_theta":-1"#, "ERR_MODEL_INVALID", "local_rope_theta"),
            (r#","local_attention":-2"#, "ERR_MODEL_INVALID", "local_attention"),
            (r#","attention_bias":1"#, "ERR_MODEL_INVALID", "attention_bias"),
            (r#","head_dim":13"#, "ERR_MODEL_UNSUPPORTED", "head_dim"),
            (r#","num_attention_heads":48"#, "ERR_MODEL_INVALID", "pairs"),
            (r#","num_attention_heads":5"#, "ERR_MODEL_INVALID", "does not divide"),
            (r#","hidden_activation":"gelo""#, "ERR_MODEL_UNSUPPORTED", "gelo"),
        ] {
            let error = parse(more).expect_err(more);
            assert_eq!(error.code(), code, "{more}: {error}");
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
    }
}
