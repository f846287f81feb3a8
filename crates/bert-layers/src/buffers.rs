//! Result buffers that nobody needs any more, for the next result. A fresh buffer costs a page fault for each of its pages
//! and the zeros that the system fills it with: 3 to 5 % of a float32 batch in a profile. What keeping them gains from Node has
//! not shown above the noise yet.

use std::sync::{Mutex, PoisonError};

use bert_layers_kernels::{AllocError, try_zeroed};

/// Buffers kept. A loop that awaits each result has one in use and one on its way back.
const KEPT: usize = 2;
/// The smallest buffer worth keeping, in floats: 4 MB.
const SMALLEST: usize = 1 << 20;

static SPARE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// A buffer of `len` floats of any value, every one of which the caller writes.
pub(crate) fn take(len: usize) -> Result<Vec<f32>, AllocError> {
    let fits = |buffer: &Vec<f32>| (len..=len + len / 4).contains(&buffer.len());
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    match spare.iter().position(fits).filter(|_| len >= SMALLEST) {
        Some(i) => {
            let mut buffer = spare.swap_remove(i);
            buffer.truncate(len);
            Ok(buffer)
        }
        None => {
            drop(spare);
            try_zeroed(len)
        }
    }
}

/// Takes back a buffer that [`HiddenStates::into_parts`](crate::HiddenStates::into_parts) gave away.
pub fn recycle(mut buffer: Vec<f32>) {
    if buffer.capacity() < SMALLEST {
        return;
    }
    buffer.resize(buffer.capacity(), 0.0); // what `take` cut off
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    spare.push(buffer);
    if spare.len() > KEPT {
        let oldest = spare.remove(0);
        drop(spare);
        drop(oldest); // not while others wait for the lock: giving back gigabytes takes a while
    }
}

/// Lets go of all of them.
pub(crate) fn clear() {
    let spare = std::mem::take(&mut *SPARE.lock().unwrap_or_else(PoisonError::into_inner));
    drop(spare);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_whole() {
        clear();
        let buffer = take(SMALLEST + 100).expect("memory");
        let address = buffer.as_ptr();
        recycle(buffer);
        let shorter = take(SMALLEST + 7).expect("memory");
        assert_eq!((shorter.as_ptr(), shorter.len()), (address, SMALLEST + 7));
        recycle(shorter);
        let again = take(SMALLEST + 100).expect("memory");
        assert_eq!((again.as_ptr(), again.len()), (address, SMALLEST + 100));
        recycle(again);
        let longer = take(2 * SMALLEST).expect("memory");
        assert_ne!(longer.as_ptr(), address, "too small for this");
        clear();
    }
}
