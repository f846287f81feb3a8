//! Allocations that can fail, and scratch memory.

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::pages::{LARGE, MADV_HUGEPAGE, Pages, madvise};

/// The system would not give this much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError {
    /// The bytes asked for; `usize::MAX` if their number does not even fit.
    pub bytes: usize,
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not allocate {} bytes", self.bytes)
    }
}

impl std::error::Error for AllocError {}

/// A buffer of `len` zeros whose capacity is its length, so that it can be handed on (to JavaScript, say) as it is.
///
/// The zeros come from the system: no page is touched before its first use.
///
/// # Errors
/// [`AllocError`] where `Vec` would abort the process.
pub fn try_zeroed(len: usize) -> Result<Vec<f32>, AllocError> {
    let layout = Layout::array::<f32>(len).map_err(|_| AllocError { bytes: usize::MAX })?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not empty.
    let start = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<f32>();
    if start.is_null() {
        return Err(AllocError { bytes: layout.size() });
    }
    // SAFETY: allocated just now by the global allocator with the layout of `len` floats; all-zero bytes are 0.0.
    Ok(unsafe { Vec::from_raw_parts(start, len, len) })
}

/// Wishes for pages of 2 MiB rather than 4 KiB for a large buffer: 512 times fewer page faults when it is first written.
pub fn wish_for_large_pages(buffer: &mut [f32]) {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    if let Some((start, bytes)) = whole_pages(buffer.as_mut_ptr(), buffer.len()) {
        // SAFETY: whole pages that this buffer covers alone; the advice changes how they are backed, not what they
        // hold, and stays harmless when they are freed. Its failure is no matter.
        unsafe { madvise(start.cast(), bytes, MADV_HUGEPAGE) };
    }
    let _ = buffer;
}

/// The pages that a buffer of `len` floats covers alone, start and bytes; none if they are less than a large page.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn whole_pages(start: *mut f32, len: usize) -> Option<(*mut f32, usize)> {
    const PAGE: usize = 1 << 16; // the largest usual page; a multiple of the smaller ones
    let (first, end) = (start as usize, start as usize + len * size_of::<f32>());
    let (first, end) = (first.next_multiple_of(PAGE), end / PAGE * PAGE);
    (end.saturating_sub(first) >= LARGE).then(|| (start.with_addr(first), end - first))
}

/// Whether [`spare`] does anything: on 64-bit Linux.
pub const SPARES: bool = cfg!(all(target_os = "linux", target_pointer_width = "64"));

/// Lets the system take the pages of a buffer when it needs memory, until they are written to again: a kept buffer costs
/// nobody anything, though it counts as this process's until then. What the buffer holds is then either as it was or zeros, page by
/// page.
pub fn spare(buffer: &mut [f32]) {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    if let Some((start, bytes)) = whole_pages(buffer.as_mut_ptr(), buffer.len()) {
        const MADV_FREE: std::ffi::c_int = 8;
        // SAFETY: whole pages that this buffer covers alone, borrowed mutably. Floats of any bits are floats. Its failure is
        // no matter.
        unsafe { madvise(start.cast(), bytes, MADV_FREE) };
    }
    let _ = buffer;
}

/// Gives memory that was freed back to the system. glibc keeps large blocks for later once a few of them were freed; after a
/// model's weights are gone there is no later.
pub fn release_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> std::ffi::c_int;
        }
        // SAFETY: may be called at any time from any thread, and touches only memory that nobody has.
        unsafe { malloc_trim(0) };
    }
}

/// Floats in a cache line.
pub const LINE: usize = 16;

/// Words that lie a multiple of this apart are in the same set of a first-level cache: 4 KiB, the smallest page, in most processors.
pub(crate) const SET_SPAN: usize = 1024;

/// Rows of numbers, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Strided<T> {
    /// Their memory, as many times `stride` numbers as there are rows.
    pub numbers: T,
    /// From the start of a row to that of the next: at least a row's length. What lies between is nobody's.
    pub stride: usize,
}

/// The stride of rows of `width` floats of which a product reads several at a time: such that they do not meet in one set of the
/// first-level cache.
pub fn stride_of(width: usize) -> usize {
    if width > 0 && width.is_multiple_of(SET_SPAN) { width + LINE } else { width }
}

/// How many of the first elements to leave out so that the rest starts on a cache line. An allocator's blocks start somewhere in
/// one; a vector load or store that straddles two lines costs two.
pub fn to_line<T>(memory: &[T]) -> usize {
    memory.as_ptr().align_offset(LINE * size_of::<f32>()).min(memory.len())
}

/// A zeroed buffer of 32-bit words that starts on a cache line; not a small one in large pages, if the system will: fewer address
/// translations while weights stream by (16 tokens alone are 2 to 5 % faster).
pub(crate) struct Aligned {
    storage: Storage,
    len: usize,
}

/// Smaller buffers are the allocator's: it keeps those in memory that it has, and asks the system for larger ones, too.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
const LEAST_IN_PAGES: usize = 1 << 17;

enum Storage {
    /// The first floats are skipped.
    Heap(Vec<f32>, usize),
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    Pages(Pages),
}

impl Aligned {
    pub(crate) fn try_zeroed(len: usize) -> Result<Self, AllocError> {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        if len >= LEAST_IN_PAGES / size_of::<u32>() {
            let pages = Pages::map(len).ok_or(AllocError { bytes: len.saturating_mul(size_of::<u32>()) })?;
            return Ok(Aligned { storage: Storage::Pages(pages), len });
        }
        let storage = try_zeroed(len.checked_add(LINE).ok_or(AllocError { bytes: usize::MAX })?)?;
        let skip = to_line(&storage);
        Ok(Aligned { storage: Storage::Heap(storage, skip), len })
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const u32 {
        match &self.storage {
            Storage::Heap(storage, skip) => storage[*skip..].as_ptr().cast(),
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Storage::Pages(pages) => pages.as_ptr().cast(),
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u32] {
        words_mut(match &mut self.storage {
            Storage::Heap(storage, skip) => &mut storage[*skip..*skip + self.len],
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Storage::Pages(pages) => pages.as_mut_slice(),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<u32>()
    }
}

/// The same memory, as words.
#[inline(always)]
pub(crate) fn words_mut(floats: &mut [f32]) -> &mut [u32] {
    // SAFETY: both are 32 bits of any value, aligned alike.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), floats.len()) }
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with this thread's scratch memory: `len` floats of any value, starting on a cache line. It is kept for the next
/// call on this thread, as asking the system for it each time costs more than many of the uses.
pub(crate) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut storage = SCRATCH.take();
    if storage.len() < len + LINE {
        storage = vec![0.0; len + LINE];
    }
    let skip = to_line(&storage);
    let result = f(&mut storage[skip..skip + len]);
    SCRATCH.set(storage);
    result
}
