//! The memory of results. A large one that is dropped is kept for the next result: the system zeroes the pages of fresh memory
//! before it hands them out, which took 4 % of a batch's time in float32 and 7 % in int8 (BERT-base, 32 × 128 tokens). Only where the
//! system may take a kept buffer's pages: elsewhere it would be memory that nobody else can use.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use bert_layers_kernels::{AllocError, LINE, SPARES, spare, to_line, try_zeroed, wish_for_large_pages};

/// Smaller buffers are left to the allocator, which keeps them itself: in floats.
const LEAST: usize = (256 << 10) / size_of::<f32>();
/// Buffers kept at a time. JavaScript drops a result some calls after the last use of it, and batches of mixed lengths have results
/// of several sizes: when four were kept, most of those came in fresh memory (4 % of the time in int8).
const MOST: usize = 16;
/// All that are kept, in floats. The system may take their pages meanwhile, so this bounds what a process seems to use.
const MOST_FLOATS: usize = (1 << 30) / size_of::<f32>();

/// Buffers that nobody uses, the last dropped last.
static KEPT: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Floats at a fixed place in memory, as many as asked for. Those that are allocated here start on a cache line.
#[derive(Default)]
pub struct ResultBuffer {
    memory: Vec<f32>,
    /// The first of them.
    start: usize,
    /// A kept buffer may be somewhat larger than what is asked for.
    len: usize,
}

impl ResultBuffer {
    /// Room for `len` floats of any value.
    ///
    /// # Errors
    /// [`AllocError`] where the system has not enough.
    pub(crate) fn allocate(len: usize) -> Result<Self, AllocError> {
        let room = len.checked_add(LINE).ok_or(AllocError { bytes: usize::MAX })?;
        let memory = match take_kept(room) {
            Some(memory) => memory,
            None => {
                let mut memory = try_zeroed(room)?;
                wish_for_large_pages(&mut memory);
                memory
            }
        };
        Ok(Self { start: to_line(&memory), memory, len })
    }

    /// `len` zeros in fresh memory.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub(crate) fn zeroed(len: usize) -> Result<Self, AllocError> {
        Ok(Self { memory: try_zeroed(len)?, start: 0, len })
    }

    /// As a vector: the memory itself if it has no other floats, or else a copy.
    pub fn into_vec(mut self) -> Vec<f32> {
        if self.len == self.memory.len() { std::mem::take(&mut self.memory) } else { self.to_vec() }
    }
}

/// The smallest kept buffer that holds `len` floats and is less than a quarter too large.
fn take_kept(len: usize) -> Option<Vec<f32>> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |i: &usize| (len..len + len.div_ceil(4)).contains(&kept[*i].len());
    let best = (0..kept.len()).filter(fits).min_by_key(|&i| kept[i].len())?;
    Some(kept.remove(best))
}

/// What [`release_kept`] would give back.
pub(crate) fn kept_bytes() -> u64 {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().map(|memory| size_of_val(&memory[..]) as u64).sum()
}

/// Gives what is kept back to the system.
pub(crate) fn release_kept() {
    drop(std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner)));
}

impl Drop for ResultBuffer {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        if !SPARES || !(LEAST..=MOST_FLOATS).contains(&memory.len()) {
            return;
        }
        spare(&mut memory);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(memory);
        let mut floats: usize = kept.iter().map(Vec::len).sum();
        let mut old = Vec::new(); // dropped when nobody waits for the lock any more
        while kept.len() > MOST || floats > MOST_FLOATS {
            let oldest = kept.remove(0);
            floats -= oldest.len();
            old.push(oldest);
        }
        drop(kept);
    }
}

impl Deref for ResultBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for ResultBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl Clone for ResultBuffer {
    fn clone(&self) -> Self {
        Self { memory: self.to_vec(), start: 0, len: self.len }
    }
}

impl PartialEq for ResultBuffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for ResultBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: what is kept is the process's, and tests run side by side.
    #[test]
    fn a_dropped_buffer_serves_again_where_it_fits() {
        let odd = (40 << 20) / 4 + 12_345; // no other test's size
        let mut first = ResultBuffer::allocate(odd).expect("memory");
        assert!(first.iter().all(|&x| x == 0.0));
        first.fill(1.0);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(at.align_offset(64), 0);
        let larger = ResultBuffer::allocate(odd + 1).expect("memory");
        assert_ne!(larger.as_ptr(), at, "too small to serve");
        let again = ResultBuffer::allocate(odd - odd / 8).expect("memory");
        assert_eq!((again.as_ptr(), again.len()), (at, odd - odd / 8));
        let (kept, len) = (again.as_ptr(), again.len());
        drop(again);
        let half = ResultBuffer::allocate(odd / 2).expect("memory");
        assert_ne!((half.as_ptr(), half.len()), (kept, len), "too large to serve");
        release_kept();

        // What is kept, none of whose pages was ever touched, gives way to what would not fit beside it: half of it lacks.
        let large = (700 << 20) / 4 + 12_345;
        drop(ResultBuffer::allocate(large).expect("memory"));
        let promise = crate::memory::promise(crate::memory::available() + (350 << 20));
        assert_eq!(take_kept(large + LINE).map(|memory| memory.len()), None);
        drop(promise);
    }
}
