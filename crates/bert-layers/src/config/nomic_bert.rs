//! NomicBERT's `config.json`: as Transformers 5 writes it, and as the code beside the models on the hub does (fields of GPT-2).

use super::activation::HiddenAct;
use super::json::Fields;
use super::{Sizes, rope};
use crate::Result;

/// What `NomicBertConfig` of Transformers holds, as far as an encoder needs it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of config.json
pub struct NomicBertConfig {
    /// What stands before the encoder's names in task checkpoints: "nomic_bert", with the remote code "bert".
    pub base_model_prefix: &'static str,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Places of a head.
    pub head_dim: usize,
    /// Places of a head that turn with the position; the rest stays as it is.
    pub rotary_dim: usize,
    pub intermediate_size: usize,
    pub hidden_act: HiddenAct,
    pub max_position_embeddings: usize,
    /// 0 for none.
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
    pub rope_theta: f64,
    /// Whether the layers of attention have biases.
    pub qkv_proj_bias: bool,
    /// Whether the first layers of the feed-forward network have.
    pub mlp_fc1_bias: bool,
    /// Whether its last layer has.
    pub mlp_fc2_bias: bool,
}

impl NomicBertConfig {
    pub(super) fn from_fields(fields: &Fields) -> Result<Self> {
        let config = if fields.has("n_embd") { of_the_hub(fields)? } else { of_transformers(fields)? };
        rope::even(fields, "a head's turned part", config.rotary_dim)?;
        if config.num_attention_heads * config.head_dim > u32::MAX as usize {
            return Err(fields.invalid("num_attention_heads · head_dim is larger than any model's"));
        }
        Ok(config)
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            vocab: self.vocab_size,
            types: self.type_vocab_size.max(1),
            max_tokens: self.max_position_embeddings,
        }
    }
}

/// Transformers 5: BERT's fields.
fn of_transformers(fields: &Fields) -> Result<NomicBertConfig> {
    rope::no_scaling(fields)?;
    let (hidden_size, num_attention_heads) = (fields.count("hidden_size", 1)?, fields.count("num_attention_heads", 1)?);
    let head_dim = match fields.has("head_dim") {
        true => fields.count("head_dim", 1)?,
        false => {
            fields.divides(("num_attention_heads", num_attention_heads), ("hidden_size", hidden_size))?;
            hidden_size / num_attention_heads
        }
    };
    Ok(NomicBertConfig {
        base_model_prefix: "nomic_bert",
        vocab_size: fields.count("vocab_size", 1)?,
        hidden_size,
        num_hidden_layers: fields.count("num_hidden_layers", 0)?,
        num_attention_heads,
        head_dim,
        rotary_dim: head_dim,
        intermediate_size: fields.count("intermediate_size", 1)?,
        hidden_act: fields.activation_or("hidden_act", "silu")?,
        max_position_embeddings: fields.count("max_position_embeddings", 1)?,
        type_vocab_size: fields.count_or("type_vocab_size", 2, 1)?,
        layer_norm_eps: fields.number_or("layer_norm_eps", 1e-12)? as f32,
        rope_theta: rope::theta(
            fields.object("rope_parameters")?.as_ref(),
            rope::positive(fields, "rope_theta", 1000.0)?,
        )?,
        qkv_proj_bias: false,
        mlp_fc1_bias: false,
        mlp_fc2_bias: false,
    })
}

/// The remote code's gated networks are this many places wide, or a multiple.
const INNER_MULTIPLE: usize = 256;

/// The remote code: GPT-2's fields and more. Those that ask for another architecture are refused.
fn of_the_hub(fields: &Fields) -> Result<NomicBertConfig> {
    for (field, usual) in [
        ("prenorm", false),
        ("parallel_block", false),
        ("parallel_block_tied_norm", false),
        ("use_rms_norm", false),
        ("causal", false),
        ("rotary_emb_interleaved", false),
        ("norm_mlp", false),
    ] {
        if fields.flag(field)? != usual {
            return Err(fields.unsupported(format!("{field} is not supported")));
        }
    }
    if fields.has("rotary_emb_scale_base") {
        return Err(fields.unsupported("rotary_emb_scale_base is not supported"));
    }
    for field in ["num_experts", "moe_every_n_layers"] {
        if fields.count_or(field, 0, 0)? > 0 {
            return Err(fields.unsupported(format!("{field}: mixtures of experts are not supported")));
        }
    }
    let (hidden_size, num_attention_heads) = (fields.count("n_embd", 1)?, fields.count("n_head", 1)?);
    fields.divides(("n_head", num_attention_heads), ("n_embd", hidden_size))?;
    if fields.count_or("num_heads_kv", num_attention_heads, 1)? != num_attention_heads {
        return Err(fields.unsupported("num_heads_kv other than n_head is not supported"));
    }
    let act = match fields.string_or("activation_function", "gelu_new")? {
        "swiglu" => "silu",
        "geglu" => "gelu",
        "glu" => "sigmoid",
        other => {
            let message = format!("activation_function '{other}' is not supported, only 'swiglu', 'geglu' and 'glu'");
            return Err(fields.unsupported(message));
        }
    };
    let head_dim = hidden_size / num_attention_heads;
    let rotary_dim = head_dim as f64 * fields.number_or("rotary_emb_fraction", 0.0)?;
    if rotary_dim < 1.0 || rotary_dim > head_dim as f64 || rotary_dim.fract() != 0.0 {
        return Err(fields.unsupported(format!(
            "rotary_emb_fraction that turns {rotary_dim} of a head's {head_dim} places is not supported"
        )));
    }
    // The remote code makes both sizes rounder than the config has them.
    let vocab_size = fields.count("vocab_size", 1)?;
    let padded = vocab_size.checked_next_multiple_of(fields.count_or("pad_vocab_size_multiple", 1, 1)?);
    let inner = match fields.has("n_inner") {
        true => fields.count("n_inner", 1)?,
        false => 8 * hidden_size / 3,
    };
    let positions = fields.count("n_positions", 1)?;
    // Beyond the trained positions such a model's θ depends on the longest text of a batch.
    let max_position_embeddings = match fields.has("rotary_scaling_factor") {
        true => positions.min(fields.count_or("max_trained_positions", 2048, 1)?),
        false => positions,
    };
    Ok(NomicBertConfig {
        base_model_prefix: "bert",
        vocab_size: padded.unwrap_or(vocab_size),
        hidden_size,
        num_hidden_layers: fields.count("n_layer", 0)?,
        num_attention_heads,
        head_dim,
        rotary_dim: rotary_dim as usize,
        intermediate_size: inner.next_multiple_of(INNER_MULTIPLE),
        hidden_act: HiddenAct::named(act).ok_or_else(|| fields.unsupported("activation_function"))?,
        max_position_embeddings,
        type_vocab_size: fields.count_or("type_vocab_size", 2, 0)?,
        layer_norm_eps: fields.number_or("layer_norm_epsilon", 1e-5)? as f32,
        rope_theta: rope::positive(fields, "rotary_emb_base", 10_000.0)?,
        qkv_proj_bias: fields.flag_or("qkv_proj_bias", true)?,
        mlp_fc1_bias: fields.flag_or("mlp_fc1_bias", true)?,
        mlp_fc2_bias: fields.flag_or("mlp_fc2_bias", true)?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ModelConfig;
    use super::*;

    const FIVE: &str = r#"{"model_type":"nomic_bert","vocab_size":30528,"hidden_size":768,"num_hidden_layers":12,"num_attention_heads":12,
        "intermediate_size":3072,"hidden_act":"silu","max_position_embeddings":8192,"type_vocab_size":2,"layer_norm_eps":1e-12,
        "head_dim":64,"rope_parameters":{"rope_theta":1000.0,"rope_type":"default"}}"#;

    /// As nomic-embed-text-v1.5 has it.
    const HUB: &str = r#"{"model_type":"nomic_bert","activation_function":"swiglu","causal":false,"layer_norm_epsilon":1e-12,
        "max_trained_positions":2048,"mlp_fc1_bias":false,"mlp_fc2_bias":false,"n_embd":768,"n_head":12,"n_inner":3072,"n_layer":12,
        "n_positions":8192,"pad_vocab_size_multiple":64,"parallel_block":false,"parallel_block_tied_norm":false,"prenorm":false,
        "qkv_proj_bias":false,"rotary_emb_base":1000,"rotary_emb_fraction":1.0,"rotary_emb_interleaved":false,
        "rotary_emb_scale_base":null,"rotary_scaling_factor":null,"type_vocab_size":2,"use_rms_norm":false,"vocab_size":30522}"#;

    fn parse(text: &str) -> Result<NomicBertConfig> {
        match ModelConfig::parse(text.as_bytes(), Path::new("config.json"))? {
            ModelConfig::NomicBert(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_ways_of_writing_it_mean_the_same() {
        let hub = parse(HUB).expect("sound");
        assert_eq!(parse(FIVE).expect("sound"), NomicBertConfig { base_model_prefix: "nomic_bert", ..hub });
    }

    #[test]
    fn scaled_positions_end_where_scaling_begins() {
        let config = HUB.replacen(r#""rotary_scaling_factor":null"#, r#""rotary_scaling_factor":2"#, 1);
        assert_eq!(parse(&config).expect("sound").max_position_embeddings, 2048);
    }

    #[test]
    fn says_what_is_wrong() {
        for (from, to, code, says) in [
            (r#""prenorm":false"#, r#""prenorm":true"#, "ERR_MODEL_UNSUPPORTED", "prenorm"),
            (r#""causal":false"#, r#""causal":true"#, "ERR_MODEL_UNSUPPORTED", "causal"),
            (r#""causal":false"#, r#""num_experts":8"#, "ERR_MODEL_UNSUPPORTED", "num_experts"),
            (r#""causal":false"#, r#""num_heads_kv":4"#, "ERR_MODEL_UNSUPPORTED", "num_heads_kv"),
            (r#""swiglu""#, r#""gelu""#, "ERR_MODEL_UNSUPPORTED", "activation_function 'gelu'"),
            (
                r#""rotary_emb_fraction":1.0"#,
                r#""rotary_emb_fraction":0.0"#,
                "ERR_MODEL_UNSUPPORTED",
                "rotary_emb_fraction",
            ),
            (
                r#""rotary_emb_fraction":1.0"#,
                r#""rotary_emb_fraction":2"#,
                "ERR_MODEL_UNSUPPORTED",
                "rotary_emb_fraction",
            ),
            (r#""rotary_emb_fraction":1.0"#, r#""rotary_emb_fraction":0.140625"#, "ERR_MODEL_INVALID", "pairs"),
            (r#""n_head":12"#, r#""n_head":7"#, "ERR_MODEL_INVALID", "n_head 7 does not divide n_embd 768"),
            (r#""n_layer":12"#, r#""n_layers":12"#, "ERR_MODEL_INVALID", "'n_layer' is missing"),
            (r#""rotary_emb_base":1000"#, r#""rotary_emb_base":0"#, "ERR_MODEL_INVALID", "rotary_emb_base"),
        ] {
            let text = HUB.replacen(from, to, 1);
            assert_ne!(text, HUB, "{from} is in the config");
            let error = parse(&text).expect_err(to);
            assert_eq!(error.code(), code, "{to}: {error}");
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
        for (from, to, code, says) in [
            (r#""rope_type":"default""#, r#""rope_type":"dynamic""#, "ERR_MODEL_UNSUPPORTED", "dynamic"),
            (r#""head_dim":64"#, r#""head_dim":63"#, "ERR_MODEL_INVALID", "pairs"),
            (
                r#""head_dim":64,"#,
                r#""head_dim":null,"num_attention_heads":7,"#,
                "ERR_MODEL_INVALID",
                "does not divide",
            ),
        ] {
            let error = parse(&FIVE.replacen(from, to, 1)).expect_err(to);
            assert_eq!(error.code(), code, "{to}: {error}");
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
    }
}
