//! [`Ops`] with candle tensors, on any device that candle knows: CUDA, Metal, and on the CPU the readable reference
//! that the fast one is tested against.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bert_layers_kernels::{Activation, DistanceBias, Kernels, Solo};
use candle_core::{D, DType, Device, Tensor};

use super::{Attention, Distances, For, Layer, Ops};
use crate::weights::Tensor as HostTensor;
use crate::{Cancel, Result};

/// Candle on a device. Weights and activations are of `dtype`; norms and softmax are computed in f32.
#[derive(Clone)]
pub struct Candle {
    device: Device,
    dtype: DType,
    cancel: Cancel,
}

/// A matrix, transposed once, and its bias.
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
    pub fn new(device: Device, dtype: DType) -> Self {
        Self { device, dtype, cancel: Cancel::new() }
    }

    /// The same operations, ended by `cancel`.
    pub fn cancelled_by(&self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self.clone() }
    }

    fn upload(&self, tensor: HostTensor) -> Result<Tensor> {
        Ok(Tensor::from_vec(tensor.data, tensor.shape, &self.device)?.to_dtype(self.dtype)?)
    }

    /// Copies rows out to where the caller keeps them.
    fn keep(&self, x: &Tensor, keep: Option<&mut [f32]>) -> Result<()> {
        if let Some(out) = keep {
            out.copy_from_slice(&self.read(x)?);
        }
        Ok(())
    }

    fn normed(&self, x: &Tensor, norm: &LayerNorm) -> Result<Tensor> {
        let x = x.to_dtype(DType::F32)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + norm.eps)?.sqrt()?)?;
        let scaled = normed.broadcast_mul(&norm.weight)?;
        let moved = match &norm.bias {
            Some(bias) => scaled.broadcast_add(bias)?,
            None => scaled,
        };
        Ok(moved.to_dtype(self.dtype)?)
    }

    /// The bias of each head, query and key of a text of `len` tokens.
    fn bias(&self, bias: &DistanceBias, len: usize) -> Result<Tensor> {
        let reach = bias.reach() as f64;
        let table = Tensor::from_slice(bias.table(), (bias.heads(), 2 * bias.reach() + 1), &self.device)?;
        let at = Tensor::arange(0f32, len as f32, &self.device)?;
        let distances = at.unsqueeze(0)?.broadcast_sub(&at.unsqueeze(1)?)?; // [query][key]
        let places = (distances.clamp(-reach, reach)? + reach)?.to_dtype(DType::U32)?.flatten_all()?;
        Ok(table.index_select(&places, 1)?.reshape((bias.heads(), len, len))?)
    }

    /// `Σ tableᵢ[rowsᵢ]`
    fn sum(&self, lookups: &[(&Tensor, &[u32])]) -> Result<Tensor> {
        self.cancel.check()?;
        let mut sum: Option<Tensor> = None;
        for (table, rows) in lookups {
            let looked_up = table.index_select(&Tensor::new(*rows, &self.device)?, 0)?;
            sum = Some(match sum {
                None => looked_up,
                Some(sum) => (sum + looked_up)?,
            });
        }
        sum.ok_or_else(|| crate::Error::Internal("an embedding without tables".into()))
    }

    /// q·K(i−j) + k·Q(i−j), [heads, queries i, keys j], in f32: products with the vectors of all rows, of which each pair takes one.
    fn distances(&self, q: &Tensor, k: &Tensor, disentangled: &Disentangled) -> Result<Vec<Tensor>> {
        let (heads, n, dim) = q.dims3()?;
        let by_head = |table: &Tensor| table.reshape(((), heads, dim))?.transpose(0, 1)?.contiguous();
        let reach = disentangled.rows.len() / 2;
        // The row of query i and key j, and transposed of key j and query i.
        let rows = |row: fn(usize, usize, usize) -> usize| -> Result<Tensor> {
            let pairs = (0..n).flat_map(|a| (0..n).map(move |b| row(reach, a, b)));
            let rows: Vec<u32> = pairs.map(|at| disentangled.rows[at]).collect();
            Ok(Tensor::from_vec(rows, (1, n, n), &self.device)?.broadcast_as((heads, n, n))?.contiguous()?)
        };
        let mut terms = Vec::new();
        if let Some(keys) = &disentangled.keys {
            let products = q.matmul(&by_head(keys)?.transpose(1, 2)?)?;
            terms.push(products.gather(&rows(|reach, i, j| reach + i - j)?, 2)?.to_dtype(DType::F32)?);
        }
        if let Some(queries) = &disentangled.queries {
            let products = k.matmul(&by_head(queries)?.transpose(1, 2)?)?;
            terms.push(products.gather(&rows(|reach, j, i| reach + i - j)?, 2)?.transpose(1, 2)?.to_dtype(DType::F32)?);
        }
        Ok(terms)
    }

    /// softmax(q·kᵀ / √d + bias) of one text, [heads, queries, keys], in f32.
    fn probabilities(
        &self,
        qkv: &Tensor,
        attention: &Attention<'_, Disentangled>,
        text: &Range<usize>,
    ) -> Result<Tensor> {
        self.cancel.check()?;
        let turned = |which| self.turn(&heads(qkv, attention, text, which)?, attention);
        let (q, k) = (turned(0)?, turned(1)?);
        let mut scores = q.matmul(&k.t()?)?.to_dtype(DType::F32)?;
        let mut terms = 1;
        if let Some(disentangled) = attention.disentangled {
            terms = disentangled.terms;
            for term in self.distances(&q, &k, disentangled)? {
                scores = (scores + term)?;
            }
        }
        scores = (scores / ((q.dim(2)? * terms) as f64).sqrt())?;
        if let Some(bias) = attention.bias {
            scores = (scores + self.bias(bias, text.len())?)?;
        }
        if let Some(mask) = attention.mask {
            let bias: Vec<f32> =
                mask[text.clone()].iter().map(|&seen| if seen { 0.0 } else { f32::NEG_INFINITY }).collect();
            scores = scores.broadcast_add(&Tensor::from_vec(bias, (1, 1, text.len()), &self.device)?)?;
        }
        if let Some(window) = attention.window.filter(|&window| window < text.len()) {
            let rows = || 0..text.len();
            let seen = rows().flat_map(|query| rows().map(move |key| query.abs_diff(key) <= window));
            let bias: Vec<f32> = seen.map(|seen| if seen { 0.0 } else { f32::NEG_INFINITY }).collect();
            scores = scores.broadcast_add(&Tensor::from_vec(bias, (1, text.len(), text.len()), &self.device)?)?;
        }
        // A query that sees no key has weights of 0; of others the largest is 1 before it is divided.
        let largest = scores.max_keepdim(D::Minus1)?.maximum(f64::from(f32::MIN))?;
        let weights = scores.broadcast_sub(&largest)?.exp()?;
        Ok(weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?.maximum(1.0)?)?)
    }

    /// Queries or keys [heads, rows, size] of a text, turned where the family turns them: (a, b) → (a·cos − b·sin, b·cos + a·sin).
    fn turn(&self, x: &Tensor, attention: &Attention<'_, Disentangled>) -> Result<Tensor> {
        let Some(rotary) = attention.rotary else { return Ok(x.clone()) };
        let ((_, rows, size), pairs) = (x.dims3()?, rotary.pairs());
        let angles = rotary.angles(rows)?;
        let table = |values: &[f32]| Tensor::from_slice(&values[..rows * pairs], (1, rows, pairs), &self.device);
        let (cos, sin) = (table(&angles.cos)?, table(&angles.sin)?);
        let half = |start| x.narrow(2, start, pairs)?.to_dtype(DType::F32);
        let (a, b) = (half(0)?, half(pairs)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?.to_dtype(self.dtype)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?.to_dtype(self.dtype)?;
        let mut parts = vec![first, second];
        if 2 * pairs < size {
            parts.push(x.narrow(2, 2 * pairs, size - 2 * pairs)?);
        }
        Ok(Tensor::cat(&parts, 2)?)
    }

    fn activate(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        // Devices have kernels for the common ones; the rest goes by way of the host, slow and exact.
        Ok(match activation {
            Activation::Identity => x.clone(),
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::Relu => x.relu()?,
            Activation::Silu => x.silu()?,
            Activation::Tanh => x.tanh()?,
            other => {
                let mut values: Vec<f32> = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                Kernels::portable().activate(&Solo, other, &mut values);
                Tensor::from_vec(values, x.shape(), &self.device)?.to_dtype(self.dtype)?
            }
        })
    }
}

/// One text's queries (0), keys (1) or values (2), [rows, 3·hidden] → [heads, rows, size].
fn heads(qkv: &Tensor, attention: &Attention<'_, Disentangled>, text: &Range<usize>, which: usize) -> Result<Tensor> {
    let hidden = qkv.dim(1)? / 3;
    let columns = qkv.narrow(0, text.start, text.len())?.narrow(1, which * hidden, hidden)?;
    let shape = (text.len(), attention.heads, hidden / attention.heads);
    Ok(columns.reshape(shape)?.transpose(0, 1)?.contiguous()?)
}

impl Ops for Candle {
    type Embedding = Tensor;
    type Linear = Linear;
    type LayerNorm = LayerNorm;
    type Disentangled = Disentangled;
    type Rows<'r> = Tensor;

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
        Ok(Linear { weight: Tensor::cat(&weights, 0)?.t()?.contiguous()?, bias, gated: false })
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
    ) -> Result<Tensor> {
        let out = self.normed(&self.sum(lookups)?, norm)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn embed(&self, lookups: &[(&Tensor, &[u32])]) -> Result<Tensor> {
        self.sum(lookups)
    }

    fn project(&self, x: &Tensor, linear: &Linear, keep: Option<&mut [f32]>) -> Result<Tensor> {
        let out = self.linear(x, linear, Activation::Identity, For::Anybody)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn linear(&self, x: &Tensor, linear: &Linear, activation: Activation, _: For<'_, Linear>) -> Result<Tensor> {
        self.cancel.check()?;
        let mut out = x.matmul(&linear.weight)?;
        if let Some(bias) = &linear.bias {
            out = out.broadcast_add(bias)?;
        }
        if !linear.gated {
            return self.activate(&out, activation);
        }
        let half = out.dim(1)? / 2;
        let (gate, up) = (out.narrow(1, 0, half)?.contiguous()?, out.narrow(1, half, half)?);
        Ok((self.activate(&gate, activation)? * up)?)
    }

    fn linear_add_norm(
        &self,
        x: &Tensor,
        linear: &Linear,
        residual: &Tensor,
        norm: &LayerNorm,
        _next: Option<&Linear>,
        keep: Option<&mut [f32]>,
    ) -> Result<Tensor> {
        let sum = (self.linear(x, linear, Activation::Identity, For::Anybody)? + residual)?;
        let out = self.normed(&sum, norm)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn linear_add(&self, x: &Tensor, linear: &Linear, residual: &Tensor, keep: Option<&mut [f32]>) -> Result<Tensor> {
        let sum = (self.linear(x, linear, Activation::Identity, For::Anybody)? + residual)?;
        self.keep(&sum, keep)?;
        Ok(sum)
    }

    fn norm(&self, x: &Tensor, norm: &LayerNorm, _: For<'_, Linear>, keep: Option<&mut [f32]>) -> Result<Tensor> {
        let out = self.normed(x, norm)?;
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn add_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        norm: &LayerNorm,
        _next: Option<&Linear>,
        keep: Option<&mut [f32]>,
    ) -> Result<Tensor> {
        let out = match residual {
            Some(residual) => self.normed(&(x + residual)?, norm)?,
            None => self.normed(x, norm)?,
        };
        self.keep(&out, keep)?;
        Ok(out)
    }

    fn neighbours(&self, x: &Tensor, texts: &[Range<usize>], mask: Option<&[bool]>, size: usize) -> Result<Tensor> {
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
        Ok(padded.index_select(&Tensor::new(rows.as_slice(), &self.device)?, 0)?.reshape((count, size * width))?)
    }

    fn attention(&self, qkv: &Tensor, attention: &Attention<'_, Disentangled>, _next: &Linear) -> Result<Tensor> {
        let hidden = qkv.dim(1)? / 3;
        let mut contexts = Vec::with_capacity(attention.texts.len());
        for text in attention.texts {
            let weights = self.probabilities(qkv, attention, text)?.to_dtype(self.dtype)?;
            let v = heads(qkv, attention, text, 2)?;
            contexts.push(weights.matmul(&v)?.transpose(0, 1)?.reshape((text.len(), hidden))?);
        }
        Ok(Tensor::cat(&contexts, 0)?)
    }

    fn attention_probabilities(
        &self,
        qkv: &Tensor,
        attention: &Attention<'_, Disentangled>,
        out: &mut [f32],
    ) -> Result<()> {
        let mut rest = out;
        for text in attention.texts {
            let weights: Vec<f32> = self.probabilities(qkv, attention, text)?.flatten_all()?.to_vec1()?;
            let (part, after) = rest.split_at_mut(weights.len());
            part.copy_from_slice(&weights);
            rest = after;
        }
        Ok(())
    }

    fn select(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        Ok(x.index_select(&Tensor::new(rows.as_slice(), &self.device)?, 0)?)
    }

    fn read<'a>(&self, x: &'a Tensor) -> Result<Cow<'a, [f32]>> {
        Ok(Cow::Owned(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
    }
}
