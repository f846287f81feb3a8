//! What reading an input may cost: memory in proportion to it, and no more time than a file of its size needs.

use std::time::Duration;

use peak_alloc::PeakAlloc;

/// Counts all memory of the process. libFuzzer's own limit needs a sanitizer's hooks, and is silently none without.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Beside four times the input. The engine promises 64 MB; inputs here have at most 100 kB, so that with as much allowed
/// nothing would ever be found.
const ALLOWANCE: usize = 16 << 20;

/// Of the processor, so that a machine that does other things makes no findings. Most inputs take a thousandth.
const TIME: Duration = Duration::from_secs(2);

/// Runs a job, and panics if it took more than an input of so many bytes may take.
pub fn within<T>(input: usize, job: impl FnOnce() -> T) -> T {
    MEMORY.reset_peak_usage();
    let (before, started) = (MEMORY.current_usage(), time());
    let result = job();
    let (taken, time) = (MEMORY.peak_usage().saturating_sub(before), time().saturating_sub(started));
    if taken > 4 * input + ALLOWANCE {
        found(&format!("{taken} bytes of memory for {input} bytes of input"));
    }
    if time > TIME {
        found(&format!("{time:?} for {input} bytes of input"));
    }
    result
}

/// Says what was found, which the silenced panic hook would not, and ends.
pub fn found(what: &str) -> ! {
    eprintln!("FOUND: {what}");
    panic!("{what}");
}

/// What this thread has had of the processor; Linux only.
fn time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
