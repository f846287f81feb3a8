//! [`Ops`] with candle tensors, on any device that candle knows: Metal, CUDA, which has kernels of our own (`gpu`), and on the
//! CPU the readable reference that the fast one is tested against (`reference`).

#[cfg(feature = "cuda")]
mod gpu;
mod reference;
mod rows;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bert_layers_kernels::{Activation, Team};
use candle_core::{DType, Device, Tensor};

use self::rows::Rows;
use super::{Attention, Distances, For, Layer, Ops};
use crate::fold::Terms;
use crate::weights::Tensor as HostTensor;
use crate::{Cancel, Result};

/// Candle on a device. Weights and what linear layers read are of `dtype`; hidden states, norms and softmax are in f32.
#[derive(Clone)]
pub struct Candle {
    device: Device,
    dtype: DType,
    /// Unpacks what comes from the device.
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "nothing comes in its own time"))]
    team: Arc<dyn Team + Send>,
    cancel: Cancel,
    #[cfg(feature = "cuda")]
    gpu: Option<bert_layers_cuda::Gpu>,
    #[cfg(feature = "cuda")]
    texts: Arc<gpu::LastTexts>,
    /// Tables of angles that are on the device.
    #[cfg(feature = "cuda")]
    angles: Arc<std::sync::Mutex<Vec<gpu::Turned>>>,
}

/// A matrix `[in, out]`, maybe a view of one that lies the other way, and its bias.
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    /// Whether the first half of its outputs, activated, gates the second.
    gated: bool,
}

/// A layer norm's parameters.
pub struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

/// Vectors of distances `[rows, width]`, and which one each distance takes.
pub struct Disentangled {
    keys: Option<Tensor>,
    queries: Option<Tensor>,
    rows: Arc<[u32]>,
    terms: usize,
}

impl Candle {
    /// Operations on `device`, in `dtype`.
    pub fn new(device: Device, dtype: DType, team: Arc<dyn Team + Send>) -> Self {
        Self {
            device,
            dtype,
            team,
            cancel: Cancel::new(),
            #[cfg(feature = "cuda")]
            gpu: None,
            #[cfg(feature = "cuda")]
            texts: Arc::default(),
            #[cfg(feature = "cuda")]
            angles: Arc::default(),
        }
    }

    /// Operations on a GPU, with our own kernels.
    #[cfg(feature = "cuda")]
    pub fn on_gpu(gpu: bert_layers_cuda::Gpu, dtype: DType, team: Arc<dyn Team + Send>) -> Self {
        Self { gpu: Some(gpu.clone()), ..Self::new(gpu.device(), dtype, team) }
    }

    /// The same operations for one run: with the help of `team`, ended by `cancel`.
    pub fn with(&self, team: Arc<dyn Team + Send>, cancel: &Cancel) -> Self {
        Self {
            team,
            cancel: cancel.clone(),
            #[cfg(feature = "cuda")]
            texts: Arc::default(),
            ..self.clone()
        }
    }

    /// Waits for the device, and makes it this thread's.
    pub fn settle_device(&self) {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            // What fails here has failed before, where somebody was told.
            let _ = gpu.synchronize();
        }
    }

    fn upload(&self, tensor: HostTensor) -> Result<Tensor> {
        Ok(Tensor::from_vec(tensor.data, tensor.shape, &self.device)?.to_dtype(self.dtype)?)
    }

    /// Copies rows out to where the caller keeps them.
    fn keep(&self, x: &Rows, keep: Option<&mut [f32]>) -> Result<()> {
        if let Some(out) = keep {
            out.copy_from_slice(&self.read(x)?);
        }
        Ok(())
    }

    /// `x · Wᵀ`, in the weights' type.
    fn product(&self, x: &Rows, linear: &Linear) -> Result<Tensor> {
        self.cancel.check()?;
        Ok(x.input(self.dtype)?.matmul(&linear.weight)?)
    }

    /// `x · Wᵀ + b + residual`, normed if there is a norm: in f32, and in the weights' type if that is.
    fn add(&self, x: &Rows, linear: &Linear, residual: &Rows, norm: Option<&LayerNorm>) -> Result<Rows> {
        let (product, residual) = (self.product(x, linear)?, residual.wide()?);
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            let bias = linear.bias.as_ref();
            let of =
                bert_layers_cuda::Norm { x: Some(&product), bias, residual: Some(&residual), ..Default::default() };
            return self.norm_at_once(gpu, of, norm, product.dims2()?, norm.is_some());
        }
        let sum = (self.activated(product, linear, Activation::Identity)?.to_dtype(DType::F32)? + residual)?;
        norm.map_or_else(|| Ok(Rows::from(sum.clone())), |norm| self.normed(&sum, norm))
    }

    /// `norm(Σ tableᵢ[rowsᵢ])`, or the sum.
    fn look_up(&self, lookups: &[(&Tensor, &[u32])], norm: Option<&LayerNorm>) -> Result<Rows> {
        self.cancel.check()?;
        #[cfg(feature = "cuda")]
        if let (Some(gpu), [(table, rows), ..], ..=4) = (&self.gpu, lookups, lookups.len()) {
            let upload = |rows: &[u32]| Tensor::new(rows, &self.device);
            let on_device: candle_core::Result<Vec<(&Tensor, Tensor)>> =
                lookups.iter().map(|(table, rows)| Ok((*table, upload(rows)?))).collect();
            let of = bert_layers_cuda::Norm { lookups: &on_device?, ..Default::default() };
            return self.norm_at_once(gpu, of, norm, (rows.len(), table.dim(1)?), true);
        }
        let sum = self.sum(lookups)?;
        norm.map_or_else(|| Ok(Rows::from(sum.clone())), |norm| self.normed(&sum, norm))
    }

    /// The norm of f32.
    fn norm_of(&self, x: &Tensor, norm: &LayerNorm) -> Result<Rows> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            let of = bert_layers_cuda::Norm { residual: Some(x), ..Default::default() };
            return self.norm_at_once(gpu, of, Some(norm), x.dims2()?, true);
        }
        self.normed(x, norm)
    }
}

impl Ops for Candle {
    type Embedding = Tensor;
    type Linear = Linear;
    type LayerNorm = LayerNorm;
    type Disentangled = Disentangled;
    type Rows<'r> = Rows;

    /// What is on a device is copied, in its own time.
    const IN_PLACE: bool = false;

    fn load_embedding(&self, table: HostTensor) -> Result<Tensor> {
        self.upload(table)
    }

    fn load_linear(&self, parts: Vec<Layer>) -> Result<Linear> {
        let some_have = parts.iter().any(|(_, bias)| bias.is_some());
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for (weight, bias) in parts {
            biases.push(match bias {
                Some(bias) => self.upload(bias)?,
                None => Tensor::zeros(weight.shape[0], self.dtype, &self.device)?,
            });
            weights.push(self.upload(weight)?);
        }
        let bias = if some_have { Some(Tensor::cat(&biases, 0)?) } else { None };
        let weight = Tensor::cat(&weights, 0)?.t()?;
        // candle's products on the CPU depend on how many rows there are if the matrix lies the other way.
        let weight = if self.device.is_cpu() { weight.contiguous()? } else { weight };
        Ok(Linear { weight, bias, gated: false })
    }

    fn load_gated(&self, gate: Layer, up: Layer) -> Result<Linear> {
        Ok(Linear { gated: true, ..self.load_linear(vec![gate, up])? })
    }

    fn load_head(&self, weight: HostTensor, bias: HostTensor) -> Result<Linear> {
        self.load_linear(vec![(weight, Some(bias))])
    }

    fn load_layer_norm(&self, weight: HostTensor, bias: Option<HostTensor>, eps: f32) -> Result<LayerNorm> {
        let f32s = |t: HostTensor| Tensor::from_vec(t.data, t.shape, &self.device);
        Ok(LayerNorm { weight: f32s(weight)?, bias: bias.map(f32s).transpose()?, eps: f64::from(eps) })
    }

    fn load_disentangled(&self, distances: &Distances<'_>) -> Result<Disentangled> {
        let f32s = |t: &HostTensor| Tensor::from_slice(&t.data, t.shape.as_slice(), &self.device);
        let project = |(weight, bias): &(HostTensor, HostTensor)| -> Result<Tensor> {
            let products = f32s(distances.embeddings)?.matmul(&f32s(weight)?.t()?)?;
            Ok(products.broadcast_add(&f32s(bias)?)?.to_dtype(self.dtype)?)
        };
        Ok(Disentangled {
            keys: distances.keys.map(project).transpose()?,
            queries: distances.queries.map(project).transpose()?,
            rows: distances.rows.clone(),
            terms: distances.terms,
        })
    }

    fn embed_norm(
        &self,
        lookups: &[(&Tensor, &[u32])],
        norm: &LayerNorm,
        _next: Option<&Linear>,
        keep: Option<&mut [f32]>,
    ) -> Result<Rows> {
        let out = self.look_up(lookups, Some(norm))?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn embed(&self, lookups: &[(&Tensor, &[u32])]) -> Result<Rows> {
        self.look_up(lookups, None)
    }

    fn project(&self, x: &Rows, linear: &Linear, keep: Option<&mut [f32]>) -> Result<Rows> {
        let out = self.linear(x, linear, Activation::Identity, For::Anybody)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn linear(&self, x: &Rows, linear: &Linear, activation: Activation, reader: For<'_, Linear>) -> Result<Rows> {
        let product = self.product(x, linear)?;
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            if let (For::Attention, Activation::Identity, false) = (&reader, activation, linear.gated) {
                return Ok(Rows::to_be_added(product, linear.bias.clone()));
            }
            if let Some(activated) = self.activate_at_once(gpu, &product, linear, activation)? {
                return Ok(activated.into());
            }
        }
        let _ = reader; // all get the same
        Ok(self.activated(product, linear, activation)?.into())
    }

    fn linear_add_norm(
        &self,
        x: &Rows,
        linear: &Linear,
        residual: &Rows,
        norm: &LayerNorm,
        _next: Option<&Linear>,
        keep: Option<&mut [f32]>,
    ) -> Result<Rows> {
        let out = self.add(x, linear, residual, Some(norm))?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn linear_add(&self, x: &Rows, linear: &Linear, residual: &Rows, keep: Option<&mut [f32]>) -> Result<Rows> {
        let out = self.add(x, linear, residual, None)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn norm(&self, x: &Rows, norm: &LayerNorm, _: For<'_, Linear>, keep: Option<&mut [f32]>) -> Result<Rows> {
        let out = self.norm_of(&x.wide()?, norm)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn add_norm(
        &self,
        x: &Rows,
        residual: Option<&Rows>,
        norm: &LayerNorm,
        _next: Option<&Linear>,
        keep: Option<&mut [f32]>,
    ) -> Result<Rows> {
        let sum = match residual {
            Some(residual) => (x.wide()? + residual.wide()?)?,
            None => x.wide()?,
        };
        let out = self.norm_of(&sum, norm)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn neighbours(&self, x: &Rows, texts: &[Range<usize>], mask: Option<&[bool]>, size: usize) -> Result<Rows> {
        let x = x.input(self.dtype)?;
        let (count, width) = x.dims2()?;
        // One row more, of zeros.
        let padded = x.pad_with_zeros(0, 0, 1)?;
        let row = |text: &Range<usize>, at: usize| match at.checked_sub(size / 2) {
            Some(row) if text.contains(&row) && mask.is_none_or(|mask| mask[row]) => row as u32,
            _ => count as u32,
        };
        let rows =
            texts.iter().flat_map(|text| text.clone().flat_map(move |at| (at..at + size).map(move |at| row(text, at))));
        let rows: Vec<u32> = rows.collect();
        let beside = padded.index_select(&Tensor::new(rows.as_slice(), &self.device)?, 0)?;
        Ok(beside.reshape((count, size * width))?.into())
    }

    fn attention(&self, qkv: &Rows, attention: &Attention<'_, Disentangled>, _next: &Linear) -> Result<Rows> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu
            && let Some(context) = self.attention_at_once(gpu, qkv, attention)?
        {
            return Ok(context.into());
        }
        Ok(self.attended(&qkv.settled()?, attention)?.into())
    }

    fn attention_probabilities(
        &self,
        qkv: &Rows,
        attention: &Attention<'_, Disentangled>,
        out: &mut [f32],
    ) -> Result<()> {
        let (qkv, mut rest) = (qkv.settled()?, out);
        for text in attention.texts {
            let weights: Vec<f32> = self.probabilities(&qkv, attention, text)?.flatten_all()?.to_vec1()?;
            let (part, after) = rest.split_at_mut(weights.len());
            part.copy_from_slice(&weights);
            rest = after;
        }
        Ok(())
    }

    fn select(&self, x: &Rows, rows: &[usize]) -> Result<Rows> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let rows = Tensor::new(rows.as_slice(), &self.device)?;
        x.map(|x| x.index_select(&rows, 0))
    }

    fn read<'a>(&self, x: &'a Rows) -> Result<Cow<'a, [f32]>> {
        Ok(Cow::Owned(x.wide()?.flatten_all()?.to_vec1()?))
    }

    fn fold(&self, x: &Rows, terms: &Terms) -> Result<Option<Rows>> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            return Ok(Some(self.fold_at_once(gpu, x, terms)?.into()));
        }
        Ok(Some(self.folded(&x.wide()?, terms)?.into()))
    }

    #[cfg(feature = "cuda")]
    fn begin_read(&self, x: &Rows) -> Result<Option<Box<dyn super::Reading>>> {
        self.gpu.as_ref().map(|gpu| self.begin(gpu, x)).transpose()
    }
}
