//! Large blocks straight from the system, for weights: they start on a page of 2 MiB, so that such pages can back them (fewer
//! address translations while they stream by, once for every batch), and go back to the system when they are dropped, which
//! an allocator's blocks may not.

use std::ffi::{c_int, c_long, c_void};
use std::ptr::{NonNull, null_mut};

/// A large page.
pub(crate) const LARGE: usize = 1 << 21;

/// Zeroed memory that starts on a large page.
pub(crate) struct Pages {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: owned memory, like a Vec's.
unsafe impl Send for Pages {}
// SAFETY: shared references only read.
unsafe impl Sync for Pages {}

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

impl Pages {
    /// Room for `len` floats; none if the system gives none.
    pub(crate) fn map(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<f32>())?.checked_next_multiple_of(1 << 16)?;
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
        Some(Self { start: NonNull::new(start.cast())?, len })
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.start.as_ptr()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `len` floats that the system zeroed, ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let bytes = (self.len * size_of::<f32>()).next_multiple_of(1 << 16);
        // SAFETY: what `map` kept, and nothing refers to it any more.
        unsafe { munmap(self.start.as_ptr().cast(), bytes) };
    }
}
