//! Reads a family's weights by their checkpoint names.

use bert_layers_kernels::Activation;

use crate::Result;
use crate::config::{HiddenAct, xielu};
use crate::ops::{Layer, Ops};
use crate::weights::{Tensor, Weights};

/// Makes the parts of a model from its weights. Names are those of the checkpoint, without `.weight` and `.bias`.
pub(super) struct Loader<'a, O: Ops> {
    pub ops: &'a O,
    pub weights: &'a mut Weights,
}

impl<O: Ops> Loader<'_, O> {
    /// A table `[entries, width]`.
    pub fn embedding(&mut self, name: &str, entries: usize, width: usize) -> Result<O::Embedding> {
        self.ops.load_embedding(self.weights.read(&format!("{name}.weight"), &[entries, width])?)
    }

    /// Layers that read the same input, as one whose outputs come side by side.
    pub fn linear(&mut self, names: &[&str], outputs: usize, inputs: usize) -> Result<O::Linear> {
        self.linear_biased(names, outputs, inputs, true)
    }

    /// The same, where `biased` says whether they have a bias.
    pub fn linear_biased(&mut self, names: &[&str], outputs: usize, inputs: usize, biased: bool) -> Result<O::Linear> {
        let parts = names.iter().map(|name| self.layer(name, outputs, inputs, biased)).collect::<Result<_>>()?;
        self.ops.load_linear(parts)
    }

    /// A layer's weight, and its bias if it is `biased`.
    pub fn layer(&mut self, name: &str, outputs: usize, inputs: usize, biased: bool) -> Result<Layer> {
        let weight = self.weights.read(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = if biased { Some(self.weights.read(&format!("{name}.bias"), &[outputs])?) } else { None };
        Ok((weight, bias))
    }

    /// Weight and bias of a layer.
    pub fn dense(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<(Tensor, Tensor)> {
        let weight = self.weights.read(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok((weight, self.weights.read(&format!("{name}.bias"), &[outputs])?))
    }

    /// A small layer outside the blocks.
    pub fn head(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<O::Linear> {
        let (weight, bias) = self.dense(name, outputs, inputs)?;
        self.ops.load_head(weight, bias)
    }

    /// The same where the checkpoint has no bias.
    pub fn head_without_bias(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<O::Linear> {
        let weight = self.weights.read(&format!("{name}.weight"), &[outputs, inputs])?;
        self.ops.load_head(weight, Tensor { shape: vec![outputs], data: vec![0.0; outputs] })
    }

    /// A layer norm over `width`.
    pub fn layer_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<O::LayerNorm> {
        self.layer_norm_biased(name, width, eps, true)
    }

    /// The same, where `biased` says whether it has a bias.
    pub fn layer_norm_biased(&mut self, name: &str, width: usize, eps: f32, biased: bool) -> Result<O::LayerNorm> {
        let weight = self.weights.read(&format!("{name}.weight"), &[width])?;
        let bias = if biased { Some(self.weights.read(&format!("{name}.bias"), &[width])?) } else { None };
        self.ops.load_layer_norm(weight, bias, eps)
    }

    /// The activation at `name`, with the parameters that some have in the checkpoint.
    pub fn activation(&mut self, name: &str, act: HiddenAct) -> Result<Activation> {
        let mut scalar = |field: &str, shape: &[usize]| -> Result<f32> {
            Ok(self.weights.read(&format!("{name}.{field}"), shape)?.data[0])
        };
        match act {
            HiddenAct::Fixed(activation) => Ok(activation),
            HiddenAct::Prelu => Ok(Activation::LeakyRelu(scalar("weight", &[1])?)),
            HiddenAct::Xielu => {
                Ok(xielu(scalar("alpha_p", &[1])?, scalar("alpha_n", &[1])?, scalar("beta", &[])?, scalar("eps", &[])?))
            }
        }
    }
}
