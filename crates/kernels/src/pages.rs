//! Large pages straight from the system, for weights: such pages can back all of them (fewer address translations while they stream by,
//! once for every batch), and they go back to the system when they are dropped, which an allocator's blocks may not.
//!
//! A matrix in int8 may be no larger than a fraction of a page, so matrices share [`Block`]s: with a block for each, whose ends were on
//! small pages, a BERT-base in int8 took 1.02 times as long for 16 or 128 tokens (Zen 5).

use std::ffi::{c_int, c_long, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A large page.
pub(crate) const LARGE: usize = 1 << 21;
/// What a block has at least. What nobody uses of it is never touched, and so takes no memory, except for the rest of its last page.
const BLOCK: usize = 32 * LARGE;
/// Where parts of a block start: on a cache line, and on the next line but one, as processors fetch lines in pairs.
const APART: usize = 128;

/// Zeroed memory in large pages.
pub(crate) struct Pages {
    start: NonNull<f32>,
    len: usize,
    /// Where it lies.
    _block: Arc<Block>,
}

// SAFETY: owned memory, like a Vec's.
unsafe impl Send for Pages {}
// SAFETY: shared references only read.
unsafe impl Sync for Pages {}

/// Whole large pages. They go when nothing lies there any more.
struct Block {
    start: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: only says where memory is, and frees it once.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// The newest block, and how much of it is used. A model's matrices are packed one after the other, so they lie together.
static NEWEST: Mutex<(Weak<Block>, usize)> = Mutex::new((Weak::new(), 0));

// In the C library, which std links anyway.
unsafe extern "C" {
    fn mmap(
        start: *mut c_void,
        len: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn munmap(start: *mut c_void, len: usize) -> c_int;
    pub(crate) fn madvise(start: *mut c_void, len: usize, advice: c_int) -> c_int;
}

const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;
pub(crate) const MADV_HUGEPAGE: c_int = 14;
const MADV_DONTNEED: c_int = 4;

/// The largest of the small pages.
const PAGE: usize = if cfg!(target_arch = "x86_64") { 1 << 12 } else { 1 << 16 };

impl Pages {
    /// Room for `len` floats; none if the system gives none.
    pub(crate) fn map(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<f32>())?.checked_next_multiple_of(APART)?;
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        let (block, used) = match newest.0.upgrade() {
            Some(block) if bytes <= block.bytes - newest.1 => (block, newest.1),
            _ => (Arc::new(Block::map(bytes.max(BLOCK))?), 0),
        };
        *newest = (Arc::downgrade(&block), used + bytes);
        Some(Self { start: NonNull::new(block.start.as_ptr().wrapping_byte_add(used).cast())?, len, _block: block })
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.start.as_ptr()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `len` floats of the block that the system zeroed and no other part was given, ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Block {
    /// Large pages of so many bytes in all, or some more.
    fn map(bytes: usize) -> Option<Self> {
        let bytes = bytes.checked_next_multiple_of(LARGE)?;
        let mapped = bytes.checked_add(LARGE)?;
        // SAFETY: asks for new memory.
        let base = unsafe { mmap(null_mut(), mapped, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
        if base.addr() == usize::MAX {
            return None;
        }
        // Of the block and a large page more, the aligned part is kept.
        let before = base.addr().next_multiple_of(LARGE) - base.addr();
        let start = base.wrapping_byte_add(before);
        // SAFETY: both ends belong to the block that was mapped just now, whole pages, and nobody uses them.
        unsafe {
            if before > 0 {
                munmap(base, before);
            }
            munmap(start.wrapping_byte_add(bytes), LARGE - before);
            madvise(start, bytes, MADV_HUGEPAGE); // a wish: its failure is no matter
        }
        Some(Self { start: NonNull::new(start)?, bytes })
    }
}

impl Drop for Pages {
    /// Gives what nobody else has a part of back to the system at once: the block may stay for a long time. In int8 all weights are there
    /// in f32 until samples have run through the model.
    fn drop(&mut self) {
        let start = self.start.as_ptr().addr();
        let end = (start + self.len * size_of::<f32>()) / PAGE * PAGE;
        let first = start.next_multiple_of(PAGE);
        if first < end {
            // SAFETY: whole pages of this part alone, which nobody refers to any more. They read as zeros after that, and are not used.
            unsafe { madvise(self.start.as_ptr().with_addr(first).cast(), end - first, MADV_DONTNEED) };
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: what `map` kept, and nothing refers to it any more: each part holds the block.
        unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zeros_that_nobody_else_has() {
        // Some that share a block, one larger than a block, some behind it.
        let lens = [100_000, 33, BLOCK / 4 + 5, 1, 700_000, BLOCK / 8, 12];
        let mut parts: Vec<Pages> = lens.iter().map(|&len| Pages::map(len).expect("memory")).collect();
        for (i, part) in parts.iter_mut().enumerate() {
            let floats = part.as_mut_slice();
            assert!(floats.iter().all(|&x| x == 0.0), "part {i}");
            assert_eq!(floats.as_ptr().addr() % APART, 0);
            floats.fill(i as f32 + 1.0);
        }
        for (i, part) in parts.iter_mut().enumerate() {
            assert_eq!(part.as_mut_slice().len(), lens[i]);
            assert!(part.as_mut_slice().iter().all(|&x| x == i as f32 + 1.0), "part {i} was overwritten");
        }
        assert!(Pages::map(usize::MAX / 4).is_none());
        assert!(Pages::map(1 << 46).is_none(), "more than an address space");
    }

    #[test]
    fn a_block_goes_with_its_last_part() {
        let part = Pages::map(BLOCK / size_of::<f32>()).expect("memory"); // all of a block: no other test's part lies there
        let block = Arc::downgrade(&part._block);
        drop(part);
        // Another test may be looking whether there is room.
        let gone = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            block.upgrade().is_none()
        });
        assert!(gone);
    }
}
