//! A result's memory → an ArrayBuffer over the same memory.

use bert_layers::ResultBuffer;
use napi::bindgen_prelude::{ArrayBuffer, Float32Array};
use napi_derive::napi;

/// Hands the buffer to JavaScript as it is; when JavaScript has no use for it any more, it serves another result.
pub fn typed_array(mut buffer: ResultBuffer) -> Float32Array {
    let (data, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: `len` floats that stay where they are until the buffer is dropped, which the array does once, when it is collected.
    // Nothing in Rust refers to them until then.
    unsafe { Float32Array::with_external_data(data, len, move |_, _| drop(buffer)) }
}

/// Takes the memory back before JavaScript collects it: all arrays over it are empty from now on.
#[napi]
pub fn release_buffer(buffer: ArrayBuffer<'_>) -> napi::Result<()> {
    buffer.detach()
}
