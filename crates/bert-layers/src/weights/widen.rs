//! Stored types → f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

/// Little-endian values of a 16- or 64-bit type as f32; of 64 bits, the nearest.
pub(super) fn widen(dtype: Dtype, stored: &[u8], values: &mut [f32]) {
    /// Values at a time: what is converted stays in the cache.
    const RUN: usize = 1024;
    match dtype {
        Dtype::F64 => {
            for (value, bytes) in values.iter_mut().zip(stored.as_chunks().0) {
                *value = f64::from_le_bytes(*bytes) as f32;
            }
        }
        Dtype::F16 => {
            let mut run = [f16::ZERO; RUN];
            for (values, bytes) in values.chunks_mut(RUN).zip(stored.chunks(2 * RUN)) {
                bytemuck::cast_slice_mut(&mut run[..values.len()]).copy_from_slice(bytes);
                run[..values.len()].convert_to_f32_slice(values);
            }
        }
        _ => {
            let mut run = [bf16::ZERO; RUN];
            for (values, bytes) in values.chunks_mut(RUN).zip(stored.chunks(2 * RUN)) {
                bytemuck::cast_slice_mut(&mut run[..values.len()]).copy_from_slice(bytes);
                run[..values.len()].convert_to_f32_slice(values);
            }
        }
    }
}
