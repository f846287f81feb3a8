//! Tensors on their way to the host, by way of memory that the device may write to while it computes on.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaEvent, result};
use candle_core::{DType, Result, Tensor};

use crate::gpu::{Gpu, Shared};

/// Buffers that are kept at a time.
const KEPT: usize = 4;

/// Page-locked memory that no copy uses: locking pages takes longer than a layer.
#[derive(Default)]
pub(crate) struct Staging(Mutex<Vec<Pinned>>);

impl Staging {
    /// At least so many bytes.
    fn take(&self, context: &Arc<CudaContext>, bytes: usize) -> Result<Pinned> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = (0..kept.len()).filter(|&i| kept[i].len >= bytes).min_by_key(|&i| kept[i].len);
        match fits {
            Some(i) => Ok(kept.swap_remove(i)),
            None => {
                if kept.len() >= KEPT {
                    kept.clear(); // all too small
                }
                drop(kept);
                Pinned::allocate(context.clone(), bytes)
            }
        }
    }

    fn give_back(&self, pinned: Pinned) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(pinned);
        }
    }
}

/// Page-locked memory.
struct Pinned {
    at: NonNull<u8>,
    len: usize,
    context: Arc<CudaContext>,
}

// SAFETY: it owns its memory, as a Vec does.
unsafe impl Send for Pinned {}

impl Pinned {
    fn allocate(context: Arc<CudaContext>, bytes: usize) -> Result<Self> {
        context.bind_to_thread().w()?;
        let len = bytes.next_power_of_two().max(1 << 16);
        // SAFETY: the memory is read only where a copy has written it. The flags are none: the processor will read it, which
        // write-combined memory is slow for.
        let at = unsafe { result::malloc_host(len, 0) }.w()?;
        let Some(at) = NonNull::new(at.cast()) else { candle_core::bail!("no page-locked memory") };
        Ok(Self { at, len, context })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: it came from malloc_host; no copy into it is under way, as `Reading` waits for its own.
        let _ = unsafe { result::free_host(self.at.as_ptr().cast()) };
    }
}

/// A tensor that is being copied to the host.
pub struct Reading {
    tensor: Tensor,
    bytes: usize,
    pinned: Option<Pinned>,
    done: CudaEvent,
    shared: Arc<Shared>,
}

impl Gpu {
    /// Begins to copy a tensor, as soon as it is computed and while the device computes on.
    ///
    /// # Errors
    /// Where there is no memory for it, or the device fails.
    pub fn begin_read(&self, tensor: &Tensor) -> Result<Reading> {
        let tensor = tensor.contiguous()?;
        let Shared { stream, copies, staging, .. } = &*self.shared;
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        let pinned = staging.take(stream.context(), bytes)?;
        let from = self.address(&tensor)?;
        copies.join(stream).w()?;
        // SAFETY: `pinned` has at least so many bytes, which nothing else uses now.
        let into = unsafe { std::slice::from_raw_parts_mut(pinned.at.as_ptr(), bytes) };
        // SAFETY: both ends live until the event has come: `Reading` keeps the tensor and the memory, and waits before it lets go.
        unsafe { result::memcpy_dtoh_async(into, from, copies.cu_stream()) }.w()?;
        match copies.record_event(None).w() {
            Ok(done) => Ok(Reading { tensor, bytes, pinned: Some(pinned), done, shared: self.shared.clone() }),
            Err(e) => {
                let _ = copies.synchronize(); // before the memory goes
                Err(e)
            }
        }
    }
}

impl Reading {
    /// The type of its numbers.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.tensor.elem_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits, and gives the numbers' bytes.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn wait(&self) -> Result<&[u8]> {
        self.done.synchronize().w()?;
        let Some(pinned) = &self.pinned else { return Ok(&[]) };
        // SAFETY: the copy has written so many bytes, and nothing writes them again before they are given back.
        Ok(unsafe { std::slice::from_raw_parts(pinned.at.as_ptr(), self.bytes) })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let waited = self.done.synchronize();
        if let (Some(pinned), Ok(())) = (self.pinned.take(), waited) {
            self.shared.staging.give_back(pinned);
        }
    }
}
