//! Names: what a family's tensors are called, and how the names of TensorFlow and Flax become those of PyTorch, after which the
//! models here are written.

use std::path::Path;

use crate::{Error, Result};

/// What a family's checkpoints call their tensors. A new family lists these, whatever formats it comes in.
#[derive(Debug)]
pub(crate) struct NameRules {
    /// What task checkpoints put before the encoder's names, such as "bert".
    pub base: &'static str,
    /// A tensor that every encoder of the family has.
    pub anchor: &'static str,
    /// Where the encoder's tensors are: one in there that nobody asks for may be one that a layer needs. All others are heads.
    pub rooms: &'static [&'static str],
    /// Tensors in these rooms that hold nothing to compute with.
    pub ignored: &'static [&'static str],
    /// Parts of names as they are today, and what older checkpoints have in their place.
    pub aliases: &'static [(&'static str, &'static str)],
}

impl NameRules {
    /// The names under which a tensor may be stored, today's first.
    pub fn spellings(&self, name: &str) -> impl Iterator<Item = String> {
        let old = self.aliases.iter().filter(|(today, _)| name.contains(today));
        std::iter::once(name.to_owned()).chain(old.map(|(today, old)| name.replace(today, old)))
    }

    /// Today's name of a stored tensor.
    pub fn today(&self, stored: &str) -> String {
        self.aliases.iter().fold(stored.to_owned(), |name, (today, old)| name.replace(old, today))
    }

    /// What stands before the encoder's names in a checkpoint that `has` some of them.
    ///
    /// # Errors
    /// [`Error::ModelInvalid`] where the tensor that every encoder of the family has is not there.
    pub fn prefix(&self, path: &Path, has: impl Fn(&str) -> bool) -> Result<String> {
        let Self { base, anchor, .. } = self;
        let known = |prefix: &String| self.spellings(anchor).any(|name| has(&format!("{prefix}{name}")));
        [String::new(), format!("{base}.")].into_iter().find(known).ok_or_else(|| {
            let message = format!("the weights have no tensor '{anchor}', with or without '{base}.' before it");
            Error::invalid_file(path, message)
        })
    }

    /// Whether a stored tensor, without what stands before all of them, is the encoder's and not a head's.
    pub fn is_encoder(&self, name: &str) -> bool {
        self.rooms.iter().any(|room| name.starts_with(room))
    }
}

/// The name of a Flax parameter, and whether it is a matrix that lies transposed.
pub(super) fn from_flax(path: &[String]) -> (String, bool) {
    let mut parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let transposed = parts.last() == Some(&"kernel");
    if let Some(last) = parts.last_mut().filter(|last| ["kernel", "scale", "embedding"].contains(last)) {
        *last = "weight";
    }
    (parts.join("."), transposed)
}

/// The end of a key in a checkpoint of Python objects.
const OBJECT_SUFFIX: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

/// The name of a TensorFlow variable, and whether it is a matrix that lies transposed. Both ways of naming are known: Google's
/// ("bert/encoder/layer_0/attention/self/query/kernel", "module/" before it in a SavedModel of a hub module), and that of
/// Transformers' Keras models ("tf_bert_model/bert/encoder/layer_._0/attention/self/query/kernel:0"; Keras makes "tfmp_net_model" of
/// TFMPNetModel).
pub(super) fn from_tensorflow(variable: &str) -> (String, bool) {
    let variable = variable.strip_suffix(OBJECT_SUFFIX).unwrap_or(variable);
    let variable = variable.strip_suffix(":0").unwrap_or(variable);
    let mut scopes: Vec<&str> = variable.split('/').collect();
    if scopes.len() > 1 && (scopes[0] == "module" || scopes[0].starts_with("tf")) {
        scopes.remove(0);
    }
    let mut parts = Vec::new();
    for scope in &scopes {
        // Keras makes names unique as "a___b": the module is b.
        let scope = scope.rsplit_once("___").map_or(*scope, |(_, module)| module);
        match scope.rsplit_once('_') {
            // layer_0
            Some((module, number)) if is_word(module) && is_number(number) => parts.extend([module, number]),
            // layer_._0
            _ => parts.extend(scope.split("_._")),
        }
    }
    let transposed = parts.last() == Some(&"kernel");
    match parts.pop() {
        Some("kernel" | "gamma" | "output_weights") => parts.push("weight"),
        // Of a Keras layer; as a variable's own name in Google's models it ends in that.
        Some("embeddings") if !parts.is_empty() => parts.push("weight"),
        Some("beta" | "output_bias") => parts.push("bias"),
        Some(table) if table.ends_with("_embeddings") => parts.extend([table, "weight"]),
        last => parts.extend(last),
    }
    (parts.join("."), transposed)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a variable belongs to the training and not to the model.
pub(super) fn is_tensorflow_bookkeeping(variable: &str) -> bool {
    let variable = variable.strip_suffix(OBJECT_SUFFIX).unwrap_or(variable);
    let last = variable.rsplit('/').next().unwrap_or(variable).trim_end_matches(":0");
    // An optimizer's own, its slots beside the variables, and counters.
    variable.contains("/.OPTIMIZER_SLOT/")
        || ["optimizer/", "training/"].iter().any(|scope| variable.starts_with(scope))
        || ["adam_m", "adam_v", "Adam", "Adam_1", "global_step", "save_counter", "beta1_power", "beta2_power"]
            .contains(&last)
        || ["good_steps", "loss_scale"].contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensorflow_names_become_those_of_pytorch() {
        for (variable, name, transposed) in [
            (
                "bert/encoder/layer_0/attention/self/query/kernel",
                "bert.encoder.layer.0.attention.self.query.weight",
                true,
            ),
            (
                "module/bert/encoder/layer_11/output/LayerNorm/gamma",
                "bert.encoder.layer.11.output.LayerNorm.weight",
                false,
            ),
            ("bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias", false),
            ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight", false),
            ("bert/pooler/dense/kernel", "bert.pooler.dense.weight", true),
            ("cls/predictions/output_bias", "cls.predictions.bias", false),
            ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight", false),
            (
                "tf_bert_model/bert/encoder/layer_._10/attention/self/query/kernel:0",
                "bert.encoder.layer.10.attention.self.query.weight",
                true,
            ),
            (
                "tf_bert_model/bert/embeddings/position_embeddings/embeddings",
                "bert.embeddings.position_embeddings.weight",
                false,
            ),
            (
                "tf_bert_model_1/bert/embeddings/word_embeddings/weight:0",
                "bert.embeddings.word_embeddings.weight",
                false,
            ),
            ("tf_bert_for_masked_lm/mlm___cls/predictions/bias:0", "cls.predictions.bias", false),
            ("bert/pooler/dense/bias/.ATTRIBUTES/VARIABLE_VALUE", "bert.pooler.dense.bias", false),
            (
                "tf_distil_bert_model/distilbert/transformer/layer_._3/attention/q_lin/kernel:0",
                "distilbert.transformer.layer.3.attention.q_lin.weight",
                true,
            ),
            (
                "tf_albert_model/albert/encoder/albert_layer_groups_._0/albert_layers_._0/full_layer_layer_norm/gamma:0",
                "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.weight",
                false,
            ),
            ("tf_albert_model/albert/pooler/kernel:0", "albert.pooler.weight", true),
            ("tf_electra_model/electra/embeddings_project/bias:0", "electra.embeddings_project.bias", false),
            (
                "tfxlm_roberta_for_masked_lm/roberta/embeddings/LayerNorm/gamma",
                "roberta.embeddings.LayerNorm.weight",
                false,
            ),
            (
                "tfmp_net_model/mpnet/encoder/relative_attention_bias/embeddings:0",
                "mpnet.encoder.relative_attention_bias.weight",
                false,
            ),
        ] {
            assert_eq!(from_tensorflow(variable), (name.to_owned(), transposed), "{variable}");
        }
    }

    #[test]
    fn what_belongs_to_the_training_is_known() {
        for variable in [
            "bert/encoder/layer_0/output/dense/kernel/adam_m",
            "bert/embeddings/word_embeddings/adam_v",
            "global_step",
            "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
            "bert/a/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE",
            "optimizer/learning_rate/.ATTRIBUTES/VARIABLE_VALUE",
            "bert/pooler/dense/kernel/Adam_1",
        ] {
            assert!(is_tensorflow_bookkeeping(variable), "{variable}");
        }
        for variable in
            ["bert/encoder/layer_0/output/dense/kernel", "_CHECKPOINTABLE_OBJECT_GRAPH", "bert/embeddings/adam/kernel"]
        {
            assert!(!is_tensorflow_bookkeeping(variable), "{variable}");
        }
    }

    #[test]
    fn flax_names_become_those_of_pytorch() {
        let path = |name: &str| name.split('/').map(str::to_owned).collect::<Vec<_>>();
        for (parameter, name, transposed) in [
            ("encoder/layer/0/attention/self/query/kernel", "encoder.layer.0.attention.self.query.weight", true),
            ("bert/embeddings/word_embeddings/embedding", "bert.embeddings.word_embeddings.weight", false),
            ("embeddings/LayerNorm/scale", "embeddings.LayerNorm.weight", false),
            ("cls/predictions/bias", "cls.predictions.bias", false),
            (
                "albert/encoder/albert_layer_groups/0/albert_layers/0/ffn/kernel",
                "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight",
                true,
            ),
        ] {
            assert_eq!(from_flax(&path(parameter)), (name.to_owned(), transposed), "{parameter}");
        }
    }
}
