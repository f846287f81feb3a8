//! `hidden_act`: the names that Transformers maps (its `ACT2FN`) → the function.

use bert_layers_kernels::Activation;

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
