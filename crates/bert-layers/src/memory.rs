//! Whether a result can fit. Linux promises memory that it does not have and ends the process when it is touched, so asking
//! the allocator alone is not enough.

use std::sync::atomic::{AtomicU64, Ordering};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::result_buffer::{kept_bytes, release_kept};

/// Below this the look at the system costs more than it is worth.
const LOOK_FROM: u64 = 256 << 20;

/// Memory that was promised to results which are still being written: their pages count as free until they are touched.
static PROMISED: AtomicU64 = AtomicU64::new(0);

/// A promise of memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    bytes: u64,
}

/// More memory than the process may still use.
pub(crate) struct NoRoom;

/// Promises `bytes` if they fit into what the machine and this process's control group have left.
pub(crate) fn promise(bytes: u64) -> Result<Promise, NoRoom> {
    let promise = Promise { bytes };
    let promised = PROMISED.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
    if bytes < LOOK_FROM {
        return Ok(promise);
    }
    let lacking = promised.saturating_sub(available());
    if lacking == 0 {
        return Ok(promise);
    }
    // What is kept for later results counts as used, although the system may take it: a control group's count does not know.
    if lacking <= kept_bytes() {
        release_kept();
        if promised <= available() {
            return Ok(promise);
        }
    }
    Err(NoRoom)
}

impl Drop for Promise {
    fn drop(&mut self) {
        PROMISED.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the machine and this process's control group have left, in bytes.
pub(crate) fn available() -> u64 {
    let kind = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(kind));
    // In a control group the page cache counts as used, so its free memory is a lower bound: the limit is what is certain.
    let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory.saturating_sub(limits.rss));
    match system.available_memory() {
        0 => group, // a system that says nothing is not held against the caller; the allocator has the last word
        machine => machine.min(group),
    }
}
