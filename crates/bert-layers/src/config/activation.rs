//! `hidden_act`: the names that Transformers maps (its `ACT2FN`) → the function.

use bert_layers_kernels::Activation;
use half::bf16;

/// The activation of the feed-forward network, as `config.json` names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HiddenAct {
    /// A function without parameters.
    Fixed(Activation),
    /// `prelu`: each layer's slope is in the checkpoint.
    Prelu,
    /// `xielu`: each layer's parameters are in the checkpoint.
    Xielu,
}

/// Several names mean one function: `gelu_python` is erf GELU computed differently, the tanh forms are one formula.
const NAMES: &[(&str, HiddenAct)] = &[
    ("gelu", HiddenAct::Fixed(Activation::Gelu)),
    ("gelu_10", HiddenAct::Fixed(Activation::GeluClipped)),
    ("gelu_accurate", HiddenAct::Fixed(Activation::GeluTanh)),
    ("gelu_fast", HiddenAct::Fixed(Activation::GeluTanh)),
    ("gelu_new", HiddenAct::Fixed(Activation::GeluTanh)),
    ("gelu_python", HiddenAct::Fixed(Activation::Gelu)),
    ("gelu_python_tanh", HiddenAct::Fixed(Activation::GeluTanh)),
    ("gelu_pytorch_tanh", HiddenAct::Fixed(Activation::GeluTanh)),
    ("hardswish", HiddenAct::Fixed(Activation::HardSwish)),
    ("laplace", HiddenAct::Fixed(Activation::Laplace)),
    ("leaky_relu", HiddenAct::Fixed(Activation::LeakyRelu(0.01))),
    ("linear", HiddenAct::Fixed(Activation::Identity)),
    ("mish", HiddenAct::Fixed(Activation::Mish)),
    ("prelu", HiddenAct::Prelu),
    ("quick_gelu", HiddenAct::Fixed(Activation::QuickGelu)),
    ("relu", HiddenAct::Fixed(Activation::Relu)),
    ("relu2", HiddenAct::Fixed(Activation::ReluSquared)),
    ("relu6", HiddenAct::Fixed(Activation::Relu6)),
    ("sigmoid", HiddenAct::Fixed(Activation::Sigmoid)),
    ("silu", HiddenAct::Fixed(Activation::Silu)),
    ("sqrtsoftplus", HiddenAct::Fixed(Activation::SqrtSoftplus)),
    ("swish", HiddenAct::Fixed(Activation::Silu)),
    ("tanh", HiddenAct::Fixed(Activation::Tanh)),
    ("xielu", HiddenAct::Xielu),
];

impl HiddenAct {
    /// The function of a name, if Transformers knows the name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, act)| *act)
    }

    /// Every name.
    pub fn names() -> Vec<&'static str> {
        NAMES.iter().map(|(name, _)| *name).collect()
    }
}

/// xIELU from the parameters of a checkpoint. Transformers keeps them, and computes these coefficients, in bfloat16 whatever
/// the precision of the model is (its `XIELUActivation`); numbers equal to its need the same rounding.
pub(crate) fn xielu(alpha_p: f32, alpha_n: f32, beta: f32, eps: f32) -> Activation {
    let round = |x: f32| bf16::from_f32(x).to_f32();
    let softplus = |x: f32| round(round(x).exp().ln_1p());
    Activation::Xielu {
        positive: softplus(alpha_p),
        negative: round(round(beta) + softplus(alpha_n)),
        beta: round(beta),
        eps: round(eps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bert_layers_kernels::{Kernels, Solo};
    use serde_json::Value;

    fn floats(value: &Value) -> Vec<f32> {
        value.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
    }

    /// Every function that Transformers maps, against what torch computes in f64, on every instruction set.
    #[test]
    fn equals_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/fixtures/activations.json");
        let goldens: Value = serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON");
        let x = floats(&goldens["x"]);
        let parameter = |name: &str, which: &str| {
            let value = &goldens["parameters"][name][which];
            value.as_f64().or(value[0].as_f64()).expect("a number") as f32
        };
        let theirs = goldens["y"].as_object().expect("functions");
        assert!(HiddenAct::names().iter().all(|name| theirs.contains_key(*name)));
        for (name, theirs) in theirs {
            let activation = match HiddenAct::named(name).expect(name) {
                HiddenAct::Fixed(activation) => activation,
                HiddenAct::Prelu => Activation::LeakyRelu(parameter("prelu", "weight")),
                HiddenAct::Xielu => {
                    let [alpha_p, alpha_n, beta, eps] =
                        ["alpha_p", "alpha_n", "beta", "eps"].map(|which| parameter("xielu", which));
                    xielu(alpha_p, alpha_n, beta, eps)
                }
            };
            for kernels in Kernels::available() {
                let mut ours = x.clone();
                kernels.activate(&Solo, activation, &mut ours);
                for ((x, ours), theirs) in x.iter().zip(&ours).zip(floats(theirs)) {
                    let error = (ours - theirs).abs() / theirs.abs().max(1.0);
                    // torch's own f32 is up to 5.7e-7 away from its f64.
                    assert!(error <= 6e-7, "{name}({x}) on {}: {ours}, Transformers {theirs}", kernels.name());
                }
            }
        }
    }
}
