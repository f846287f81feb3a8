//! The engine's result buffers as JavaScript's: the only unsafe code outside the kernels.

use bert_layers::recycle;
use napi::bindgen_prelude::Float32Array;

/// Moves a buffer into JavaScript without a copy; when JavaScript lets go of it, the engine gets it back for the next result.
pub fn float32_array(buffer: Vec<f32>) -> Float32Array {
    if buffer.is_empty() {
        return Float32Array::new(buffer); // V8 wants no pointer for nothing
    }
    let mut buffer = std::mem::ManuallyDrop::new(buffer);
    let (start, len, capacity) = (buffer.as_mut_ptr(), buffer.len(), buffer.capacity());
    let give_back = move |start: *mut f32, len: usize| {
        // SAFETY: start, len and capacity are those of the Vec that was taken apart below, and napi calls this once, when
        // nothing in JavaScript refers to the memory any more.
        recycle(unsafe { Vec::from_raw_parts(start, len, capacity) });
    };
    // SAFETY: `len` floats at `start` stay where they are until `give_back` is called, and nobody else owns them.
    unsafe { Float32Array::with_external_data(start, len, give_back) }
}
