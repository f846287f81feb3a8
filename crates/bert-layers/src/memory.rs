//! Whether a result can fit. Linux promises memory that it does not have and ends the process when it is touched, so asking
//! the allocator alone is not enough.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Below this the look at the system costs more than it is worth.
const LOOK_FROM: u64 = 256 << 20;

/// More memory than the process may still use.
pub(crate) struct NoRoom;

/// Whether `bytes` more fit into what the machine and this process's control group have left.
pub(crate) fn check(bytes: u64) -> Result<(), NoRoom> {
    if bytes < LOOK_FROM {
        return Ok(());
    }
    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let machine = system.available_memory();
    // In a control group the page cache counts as used, so its free memory is a lower bound: the limit is what is certain.
    let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory.saturating_sub(limits.rss));
    // A system that says nothing (0) is not held against the caller; the allocator has the last word.
    if machine != 0 && bytes > machine.min(group) { Err(NoRoom) } else { Ok(()) }
}
