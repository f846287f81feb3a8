//! What CUDA has kernels of our own for: each operation in one pass over memory, and attention without padding.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bert_layers_cuda::{Extras, Gpu, Norm, Texts};
use bert_layers_kernels::{Activation, Team};
use candle_core::{DType, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::{Attention, Candle, Disentangled, LayerNorm, Linear, Rows};
use crate::Result;
use crate::fold::Terms;
use crate::ops::rotary::Angles;
use crate::ops::{Reading, Rotary};

/// Where the texts of a run are, which all its layers share.
#[derive(Default)]
pub(super) struct LastTexts(Mutex<Option<OnDevice>>);

/// Texts, and where they are on the device.
type OnDevice = (Vec<Range<usize>>, Arc<Texts>);

/// Angles, and their cosines and sines on the device.
pub(super) type Turned = (Arc<Angles>, Tensor, Tensor);

impl LastTexts {
    fn of<D>(&self, gpu: &Gpu, attention: &Attention<'_, D>) -> Result<Arc<Texts>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((texts, on_device)) = &*last
            && texts.as_slice() == attention.texts
        {
            return Ok(on_device.clone());
        }
        let on_device = Arc::new(gpu.texts(attention.texts, attention.mask)?);
        *last = Some((attention.texts.to_vec(), on_device.clone()));
        Ok(on_device)
    }
}

/// The activation that there is a kernel for.
fn kernel(activation: Activation) -> Option<bert_layers_cuda::Activation> {
    use bert_layers_cuda::Activation as Kernel;
    Some(match activation {
        Activation::Identity => Kernel::Identity,
        Activation::Gelu => Kernel::Gelu,
        Activation::GeluTanh => Kernel::GeluTanh,
        Activation::QuickGelu => Kernel::QuickGelu,
        Activation::Relu => Kernel::Relu,
        Activation::Silu => Kernel::Silu,
        Activation::Tanh => Kernel::Tanh,
        _ => return None,
    })
}

impl Candle {
    /// `activation(x + bias)` of a product; none where there is no kernel for it.
    pub(super) fn activate_at_once(
        &self,
        gpu: &Gpu,
        product: &Tensor,
        linear: &Linear,
        activation: Activation,
    ) -> Result<Option<Tensor>> {
        let Some(kernel) = kernel(activation) else { return Ok(None) };
        if activation == Activation::Identity && linear.bias.is_none() && !linear.gated {
            return Ok(Some(product.clone()));
        }
        Ok(Some(gpu.activate(product, linear.bias.as_ref(), kernel, linear.gated)?))
    }

    /// The norm of a sum, or only the sum, in f32 and in the weights' type.
    pub(super) fn norm_at_once(
        &self,
        gpu: &Gpu,
        of: Norm<'_>,
        norm: Option<&LayerNorm>,
        (rows, width): (usize, usize),
        narrow: bool,
    ) -> Result<Rows> {
        let norm = norm.map(|norm| (&norm.weight, norm.bias.as_ref(), norm.eps as f32));
        let narrow = (narrow && self.dtype != DType::F32).then_some(self.dtype);
        let (wide, narrow) = gpu.norm(rows, width, &Norm { norm, wide: true, narrow, ..of }, self.dtype)?;
        let wide = wide.ok_or_else(|| crate::Error::Internal("a norm without a result".into()))?;
        Ok(Rows::new(wide, narrow))
    }

    /// Attention without padding; none where there is no kernel for it.
    pub(super) fn attention_at_once(
        &self,
        gpu: &Gpu,
        qkv: &Rows,
        attention: &Attention<'_, Disentangled>,
    ) -> Result<Option<Tensor>> {
        let (product, added) = qkv.parts();
        let head_size = product.dim(1)? / 3 / attention.heads;
        if attention.disentangled.is_some() || !Gpu::takes_heads(head_size) {
            return Ok(None);
        }
        self.cancel.check()?;
        let distances = match attention.bias {
            Some(bias) => Some(Tensor::from_slice(bias.table(), (bias.heads(), 2 * bias.reach() + 1), &self.device)?),
            None => None,
        };
        let angles = attention.rotary.map(|rotary| self.angles(rotary, attention.longest())).transpose()?;
        let extras = Extras {
            distances: distances.as_ref(),
            angles: angles.as_ref().map(|(cosines, sines)| (cosines, sines)),
            window: attention.window,
        };
        let texts = self.texts.of(gpu, attention)?;
        Ok(Some(gpu.attention(product, added, &texts, attention.heads, &extras)?))
    }

    /// Cosines and sines of at least so many positions.
    fn angles(&self, rotary: &Rotary, positions: usize) -> Result<(Tensor, Tensor)> {
        let angles = rotary.angles(positions)?;
        let mut known = self.angles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cosines, sines)) = known.iter().find(|(known, ..)| Arc::ptr_eq(known, &angles)) {
            return Ok((cosines.clone(), sines.clone()));
        }
        let upload =
            |values: &[f32]| Tensor::from_slice(values, (values.len() / rotary.pairs(), rotary.pairs()), &self.device);
        let (cosines, sines) = (upload(&angles.cos)?, upload(&angles.sin)?);
        if known.len() >= TABLES {
            known.remove(0); // one that has grown since
        }
        known.push((angles, cosines.clone(), sines.clone()));
        Ok((cosines, sines))
    }

    /// Few rows of many.
    pub(super) fn fold_at_once(&self, gpu: &Gpu, x: &Rows, terms: &Terms) -> Result<Tensor> {
        let Terms { ends, rows, weights, largest } = terms;
        let (ends, rows, weights) = (ends.clone(), rows.clone(), weights.clone());
        Ok(gpu.fold(&x.wide()?, &bert_layers_cuda::Terms { ends, rows, weights, largest: *largest })?)
    }

    /// Begins to bring rows to the host, in the smallest form that there is.
    pub(super) fn begin(&self, gpu: &Gpu, x: &Rows) -> Result<Box<dyn Reading>> {
        Ok(Box::new(Coming { reading: gpu.begin_read(&x.smallest()?)?, team: self.team.clone() }))
    }
}

/// Tables of angles that are kept on the device: a model has two at most.
const TABLES: usize = 4;

/// Rows on their way, and who unpacks them.
struct Coming {
    reading: bert_layers_cuda::Reading,
    team: Arc<dyn Team + Send>,
}

impl Reading for Coming {
    fn len(&self) -> usize {
        self.reading.len()
    }

    fn finish(self: Box<Self>, out: &mut [f32]) -> Result<()> {
        let bytes = self.reading.wait()?;
        let dtype = self.reading.dtype();
        widen(&*self.team, dtype, bytes, out)
    }
}

/// Numbers that a thread unpacks at a time.
const PIECE: usize = 1 << 16;

/// Unpacks numbers of a type into f32, on all threads.
fn widen(team: &dyn Team, dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    let size = dtype.size_in_bytes();
    if bytes.len() != out.len() * size {
        return Err(crate::Error::Internal(format!("{} bytes for {} numbers", bytes.len(), out.len())));
    }
    let pieces: Vec<_> =
        bytes.chunks(PIECE * size).zip(out.chunks_mut(PIECE)).map(|piece| Mutex::new(Some(piece))).collect();
    team.run(pieces.len(), &|i| {
        let Some((bytes, out)) = pieces[i].lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        match dtype {
            DType::F16 => bytemuck::cast_slice::<u8, f16>(bytes).convert_to_f32_slice(out),
            DType::BF16 => bytemuck::cast_slice::<u8, bf16>(bytes).convert_to_f32_slice(out),
            _ => bytemuck::cast_slice_mut(out).copy_from_slice(bytes),
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use bert_layers_kernels::Solo;

    use super::*;

    #[test]
    fn numbers_are_unpacked_as_they_are() {
        let numbers: Vec<f32> = (0..PIECE + 5).map(|i| (i as f32 - 100.0) / 64.0).collect();
        let narrow16: Vec<f16> = numbers.iter().map(|&x| f16::from_f32(x)).collect();
        let brain: Vec<bf16> = numbers.iter().map(|&x| bf16::from_f32(x)).collect();
        let mut out = vec![0.0; numbers.len()];
        widen(&Solo, DType::F32, bytemuck::cast_slice(&numbers), &mut out).expect("as many");
        assert_eq!(out, numbers);
        widen(&Solo, DType::F16, bytemuck::cast_slice(&narrow16), &mut out).expect("as many");
        assert!(out.iter().zip(&narrow16).all(|(x, y)| *x == y.to_f32()));
        widen(&Solo, DType::BF16, bytemuck::cast_slice(&brain), &mut out).expect("as many");
        assert!(out.iter().zip(&brain).all(|(x, y)| *x == y.to_f32()));
        widen(&Solo, DType::F32, &[0; 8], &mut out).expect_err("fewer");
    }
}
