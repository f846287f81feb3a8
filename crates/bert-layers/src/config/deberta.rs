//! The `config.json` of DeBERTa (`model_type` "deberta") and of DeBERTa-v2 and v3 ("deberta-v2").

use super::Sizes;
use super::activation::HiddenAct;
use super::json::Fields;
use crate::Result;

/// There is a number for each distance.
const MOST_POSITIONS: usize = 1 << 20;
/// A convolution in groups is stored without what each group does not read, and computed with it.
const MOST_NEIGHBOURS: usize = 15;

/// What `DebertaConfig` and `DebertaV2Config` of Transformers hold, as far as an encoder needs it. The sizes must be there; the rest
/// has the defaults of Transformers, which leaves out of the file what v3 alone has.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of config.json
pub struct DebertaConfig {
    /// "deberta" or "deberta-v2".
    pub model_type: &'static str,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: HiddenAct,
    pub max_position_embeddings: usize,
    /// 0: no token types.
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
    /// The width of the tables, `hidden_size` unless the checkpoint projects them.
    pub embedding_size: usize,
    pub position_biased_input: bool,
    pub relative_attention: bool,
    /// How far apart two tokens may be before distances count as equal; `max_position_embeddings` where the file says −1.
    pub max_relative_positions: usize,
    /// Into how many the distances on either side are grouped, near ones alone; 0: they are not.
    pub position_buckets: usize,
    /// Whether `pos_att_type` has "c2p": queries are multiplied with vectors of distances.
    pub c2p: bool,
    /// Whether `pos_att_type` has "p2c": keys are.
    pub p2c: bool,
    pub share_att_key: bool,
    /// Whether `norm_rel_ebd` has "layer_norm".
    pub norm_rel_ebd: bool,
    /// 0: no convolution.
    pub conv_kernel_size: usize,
    pub conv_groups: usize,
    pub conv_act: HiddenAct,
}

impl DebertaConfig {
    pub(super) fn from_fields(model_type: &'static str, fields: &Fields) -> Result<Self> {
        if fields.flag("talking_head")? {
            return Err(fields.unsupported("talking_head, which mixes the attention of heads, is not supported"));
        }
        let hidden_size = fields.count("hidden_size", 1)?;
        let max_position_embeddings = fields.count("max_position_embeddings", 1)?;
        let (c2p, p2c) = pos_att_type(fields)?;
        let first = Self {
            model_type,
            vocab_size: fields.count("vocab_size", 1)?,
            hidden_size,
            num_hidden_layers: fields.count("num_hidden_layers", 0)?,
            num_attention_heads: fields.count("num_attention_heads", 1)?,
            intermediate_size: fields.count("intermediate_size", 1)?,
            hidden_act: fields.activation_or("hidden_act", "gelu")?,
            max_position_embeddings,
            type_vocab_size: fields.count_or("type_vocab_size", 0, 0)?,
            layer_norm_eps: fields.number_or("layer_norm_eps", 1e-7)? as f32,
            embedding_size: fields.count_or("embedding_size", hidden_size, 1)?,
            position_biased_input: fields.flag_or("position_biased_input", true)?,
            relative_attention: fields.flag("relative_attention")?,
            max_relative_positions: fields.positive("max_relative_positions")?.unwrap_or(max_position_embeddings),
            position_buckets: 0,
            c2p,
            p2c,
            share_att_key: false,
            norm_rel_ebd: false,
            conv_kernel_size: 0,
            conv_groups: 1,
            conv_act: HiddenAct::Fixed(bert_layers_kernels::Activation::Tanh),
        };
        let config = match model_type {
            "deberta" => first,
            _ => first.with_v2(fields)?,
        };
        config.check(fields)?;
        Ok(config)
    }

    /// What came with v2.
    fn with_v2(self, fields: &Fields) -> Result<Self> {
        let norms = fields.string_or("norm_rel_ebd", "none")?.to_lowercase();
        let mut norm_rel_ebd = false;
        for norm in norms.split('|').map(str::trim) {
            match norm {
                "layer_norm" => norm_rel_ebd = true,
                "none" => {}
                other => {
                    return Err(fields.unsupported(format!("norm_rel_ebd '{other}' is not known: layer_norm, none")));
                }
            }
        }
        Ok(Self {
            position_buckets: fields.positive("position_buckets")?.unwrap_or(0),
            share_att_key: fields.flag("share_att_key")?,
            norm_rel_ebd,
            conv_kernel_size: fields.positive("conv_kernel_size")?.unwrap_or(0),
            conv_groups: fields.count_or("conv_groups", 1, 1)?,
            conv_act: fields.activation_or("conv_act", "tanh")?,
            ..self
        })
    }

    fn check(&self, fields: &Fields) -> Result<()> {
        let Self { hidden_size, num_attention_heads: heads, .. } = *self;
        fields.divides(("num_attention_heads", heads), ("hidden_size", hidden_size))?;
        let head_size = fields.count_or("attention_head_size", hidden_size / heads, 1)?;
        if head_size != hidden_size / heads {
            return Err(fields.unsupported(format!(
                "attention_head_size {head_size} is not supported, only hidden_size / num_attention_heads, {}",
                hidden_size / heads
            )));
        }
        let (kernel, groups) = (self.conv_kernel_size, self.conv_groups);
        if kernel > 0 && kernel.is_multiple_of(2) {
            return Err(
                fields.invalid(format!("conv_kernel_size {kernel} is even: it must be odd to be centred on a token"))
            );
        }
        if kernel > MOST_NEIGHBOURS {
            return Err(fields.unsupported(format!(
                "conv_kernel_size {kernel} is not supported, only up to {MOST_NEIGHBOURS}: known models have 3"
            )));
        }
        fields.divides(("conv_groups", groups), ("hidden_size", hidden_size))?;
        if kernel > 0 && !matches!(self.conv_act, HiddenAct::Fixed(_)) {
            return Err(fields.unsupported("conv_act must be a function without parameters"));
        }
        if self.relative_attention && self.max_position_embeddings > MOST_POSITIONS {
            return Err(fields.unsupported(format!(
                "max_position_embeddings {} is not supported with relative_attention, only up to {MOST_POSITIONS}",
                self.max_position_embeddings
            )));
        }
        // Beyond the middle, distances are grouped by the logarithm of distance / middle to the base (max − 1) / middle.
        let (middle, farthest) = (self.position_buckets / 2, self.max_position_embeddings - 1);
        let grouped = self.relative_attention && self.position_buckets > 0 && farthest > middle;
        if grouped && (middle == 0 || self.max_relative_positions - 1 <= middle) {
            return Err(fields.invalid(format!(
                "position_buckets {} are more than max_relative_positions {} has room for, or too few",
                self.position_buckets, self.max_relative_positions
            )));
        }
        Ok(())
    }

    /// Rows of the relative embeddings for distances on one side.
    pub(crate) fn span(&self) -> usize {
        if self.position_buckets > 0 { self.position_buckets } else { self.max_relative_positions }
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

/// `pos_att_type`, "p2c|c2p" or a list: whether it has c2p, and p2c.
fn pos_att_type(fields: &Fields) -> Result<(bool, bool)> {
    let (mut c2p, mut p2c) = (false, false);
    for kind in fields.strings("pos_att_type", '|')? {
        let seen = match kind.as_str() {
            "c2p" => &mut c2p,
            "p2c" => &mut p2c,
            other => {
                return Err(
                    fields.unsupported(format!("pos_att_type '{other}' is not supported, only 'c2p' and 'p2c'"))
                );
            }
        };
        if std::mem::replace(seen, true) {
            return Err(fields.invalid(format!("pos_att_type names '{kind}' twice")));
        }
    }
    Ok((c2p, p2c))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ModelConfig;
    use super::*;
    use bert_layers_kernels::Activation;

    const V3: &str = r#"{"model_type":"deberta-v2","vocab_size":211,"hidden_size":48,"num_hidden_layers":4,"num_attention_heads":4,
        "intermediate_size":112,"max_position_embeddings":80,"relative_attention":true,"position_buckets":16,
        "pos_att_type":"p2c|c2p","norm_rel_ebd":"layer_norm","share_att_key":true,"position_biased_input":false}"#;

    fn parse(text: &str) -> Result<DebertaConfig> {
        match ModelConfig::parse(text.as_bytes(), Path::new("config.json"))? {
            ModelConfig::Deberta(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    fn changed(from: &str, to: &str) -> String {
        let text = V3.replacen(from, to, 1);
        assert_ne!(text, V3, "{from} is in the config");
        text
    }

    #[test]
    fn reads_v3_with_its_defaults() {
        let config = parse(V3).expect("a sound config");
        assert_eq!((config.type_vocab_size, config.embedding_size, config.max_relative_positions), (0, 48, 80));
        assert_eq!((config.span(), config.sizes().types, config.sizes().max_tokens), (16, 1, 80));
        assert!(
            config.c2p && config.p2c && config.share_att_key && config.norm_rel_ebd && !config.position_biased_input
        );
        assert_eq!((config.conv_kernel_size, config.conv_act), (0, HiddenAct::Fixed(Activation::Tanh)));
    }

    #[test]
    fn kinds_of_attention_are_text_or_a_list() {
        for (list, c2p, p2c) in [
            (r#""P2C | c2p""#, true, true),
            (r#"["c2p"]"#, true, false),
            (r#""p2c""#, false, true),
            ("[]", false, false),
            ("null", false, false),
        ] {
            let config = parse(&changed(r#""p2c|c2p""#, list)).expect(list);
            assert_eq!((config.c2p, config.p2c), (c2p, p2c), "{list}");
        }
    }

    #[test]
    fn the_first_version_has_nothing_of_the_second() {
        let config = parse(&changed("deberta-v2", "deberta")).expect("a sound config");
        assert_eq!(config.model_type, "deberta");
        assert!(!config.share_att_key && !config.norm_rel_ebd && config.position_buckets == 0 && config.span() == 80);
    }

    #[test]
    fn says_what_is_wrong() {
        let last = r#""position_biased_input":false"#;
        for (from, to, says) in [
            (r#""p2c|c2p""#, r#""p2c|p2p""#, "pos_att_type 'p2p'"),
            (r#""p2c|c2p""#, r#"["c2p","c2p"]"#, "twice"),
            (r#""p2c|c2p""#, "[1]", "pos_att_type"),
            (r#""p2c|c2p""#, "true", "pos_att_type"),
            (r#""num_attention_heads":4"#, r#""num_attention_heads":5"#, "does not divide"),
            (r#""num_attention_heads":4"#, r#""num_attention_heads":0"#, "num_attention_heads"),
            (r#""position_buckets":16"#, r#""position_buckets":"16""#, "position_buckets"),
            (r#""position_buckets":16"#, r#""position_buckets":1"#, "position_buckets"),
            (r#""position_buckets":16"#, r#""position_buckets":16,"max_relative_positions":9"#, "position_buckets"),
            (r#""layer_norm""#, r#""rms_norm""#, "norm_rel_ebd 'rms_norm'"),
            (r#""max_position_embeddings":80"#, r#""max_position_embeddings":4000000000"#, "max_position_embeddings"),
            (last, r#""conv_kernel_size":4"#, "conv_kernel_size"),
            (last, r#""conv_kernel_size":3,"conv_groups":5"#, "conv_groups"),
            (last, r#""conv_kernel_size":3,"conv_groups":0"#, "conv_groups"),
            (last, r#""conv_kernel_size":3,"conv_act":"prelu""#, "conv_act"),
            (last, r#""conv_act":"gelo""#, "conv_act 'gelo'"),
            (last, r#""attention_head_size":64"#, "attention_head_size"),
            (last, r#""talking_head":true"#, "talking_head"),
            (last, r#""embedding_size":0"#, "embedding_size"),
            (last, r#""position_biased_input":1"#, "position_biased_input"),
        ] {
            let text = changed(from, to);
            let message = parse(&text).expect_err(&text).to_string();
            assert!(message.contains(says), "{says}: {message}");
        }
    }
}
