//! The formulas with candle's own operations: the readable reference, and what runs where there is no kernel for it.

use std::ops::Range;

use bert_layers_kernels::{Activation, DistanceBias, Kernels, Solo};
use candle_core::{D, DType, Tensor};

use super::{Attention, Candle, Disentangled, LayerNorm, Linear, Rows};
use crate::Result;
use crate::fold::Terms;

impl Candle {
    /// A norm of f32, in f32 and in the weights' type.
    pub(super) fn normed(&self, x: &Tensor, norm: &LayerNorm) -> Result<Rows> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + norm.eps)?.sqrt()?)?;
        let scaled = normed.broadcast_mul(&norm.weight)?;
        let moved = match &norm.bias {
            Some(bias) => scaled.broadcast_add(bias)?,
            None => scaled,
        };
        let narrow = if self.dtype == DType::F32 { None } else { Some(moved.to_dtype(self.dtype)?) };
        Ok(Rows::new(moved, narrow))
    }

    /// `Σ tableᵢ[rowsᵢ]`, in f32.
    pub(super) fn sum(&self, lookups: &[(&Tensor, &[u32])]) -> Result<Tensor> {
        self.cancel.check()?;
        let mut sum: Option<Tensor> = None;
        for (table, rows) in lookups {
            let looked_up = table.index_select(&Tensor::new(*rows, &self.device)?, 0)?.to_dtype(DType::F32)?;
            sum = Some(match sum {
                None => looked_up,
                Some(sum) => (sum + looked_up)?,
            });
        }
        sum.ok_or_else(|| crate::Error::Internal("an embedding without tables".into()))
    }

    /// `activation(x · Wᵀ + b)` from the product.
    pub(super) fn activated(&self, product: Tensor, linear: &Linear, activation: Activation) -> Result<Tensor> {
        let out = match &linear.bias {
            Some(bias) => product.broadcast_add(bias)?,
            None => product,
        };
        if !linear.gated {
            return self.activate(&out, activation);
        }
        let half = out.dim(1)? / 2;
        let (gate, up) = (out.narrow(1, 0, half)?.contiguous()?, out.narrow(1, half, half)?);
        Ok((self.activate(&gate, activation)? * up)?)
    }

    /// Attention, text by text.
    pub(super) fn attended(&self, qkv: &Tensor, attention: &Attention<'_, Disentangled>) -> Result<Tensor> {
        let hidden = qkv.dim(1)? / 3;
        let mut contexts = Vec::with_capacity(attention.texts.len());
        for text in attention.texts {
            let weights = self.probabilities(qkv, attention, text)?.to_dtype(self.dtype)?;
            let v = heads(qkv, attention, text, 2)?;
            contexts.push(weights.matmul(&v)?.transpose(0, 1)?.reshape((text.len(), hidden))?);
        }
        Ok(Tensor::cat(&contexts, 0)?)
    }

    /// Few rows of many, target after target.
    pub(super) fn folded(&self, x: &Tensor, terms: &Terms) -> Result<Tensor> {
        let (mut start, mut targets) = (0, Vec::with_capacity(terms.ends.len()));
        for &end in &terms.ends {
            let (of_target, end) = (start as usize..end as usize, end);
            let rows = x.index_select(&Tensor::new(&terms.rows[of_target.clone()], &self.device)?, 0)?;
            targets.push(if terms.largest {
                rows.max_keepdim(0)?
            } else {
                let weights = Tensor::new(&terms.weights[of_target], &self.device)?;
                rows.broadcast_mul(&weights.unsqueeze(1)?)?.sum_keepdim(0)?
            });
            start = end;
        }
        Ok(Tensor::cat(&targets, 0)?)
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
    pub(super) fn probabilities(
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
