//! Who does the work: the caller's threads, through one small trait.

use std::marker::PhantomData;
use std::ops::Range;

/// Runs tasks, possibly on several threads. The engine implements it with its own threads; [`Solo`] needs none.
pub trait Team: Sync {
    /// How many tasks can run at the same time; at least 1. Only a hint for how finely to split.
    fn threads(&self) -> usize;

    /// Calls `task` once with each of `0..tasks`, in any order and on any thread, and returns when all calls have returned.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// Runs every task on the calling thread, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Team for Solo {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Runs `tasks` tasks; a single one needs no other thread.
pub(crate) fn run(team: &dyn Team, tasks: usize, task: impl Fn(usize) + Sync) {
    match tasks {
        0 => {}
        1 => task(0),
        _ => team.run(tasks, &task),
    }
}

/// The `part`-th of `parts` nearly equal, contiguous pieces of `0..len`.
#[inline(always)]
pub(crate) fn piece(len: usize, parts: usize, part: usize) -> Range<usize> {
    let (each, rest) = (len / parts, len % parts);
    let start = part * each + part.min(rest);
    start..start + each + usize::from(part < rest)
}

/// The fewest rows to norm or convert that are worth another thread: eight rows of a BERT-base take some 7 µs (Emerald Rapids), to give work
/// to a thread that is at the ready and to see it done .2 to .6 µs (Zen 5). With 32, a text of 16 tokens was the caller's alone 25 (bf16)
/// to 50 (int8) times, and took 2 and 3 to 5 % longer.
pub(crate) const LEAST_ROWS: usize = 8;

/// Calls `work` for pieces of `0..rows`, rows of equal work: a few pieces for each thread, so that a thread that was held up does not hold
/// up the others, and none smaller than `least` rows.
pub(crate) fn run_rows(team: &dyn Team, rows: usize, least: usize, work: impl Fn(Range<usize>) + Sync) {
    let threads = team.threads().max(1);
    let pieces = if threads == 1 { usize::from(rows > 0) } else { rows.div_ceil(least).min(4 * threads) };
    run(team, pieces, |task| work(piece(rows, pieces, in_step(task, pieces, threads))));
}

/// Which part a task takes, so that threads that keep step, each with every `threads`-th task, have neighbouring parts: in all operations
/// on the same rows the same ones, which are in a thread's own cache then.
pub(crate) fn in_step(task: usize, parts: usize, threads: usize) -> usize {
    if parts.is_multiple_of(threads) { task % threads * (parts / threads) + task / threads } else { task }
}

/// A mutable slice that several tasks write to, each its own part.
pub(crate) struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

// SAFETY: as sendable as the `&mut [T]` that it stands for; who uses it from several threads promises disjoint parts.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: see above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The address of element `at`, which may be one past the end.
    #[inline(always)]
    pub(crate) fn at(self, at: usize) -> *mut T {
        debug_assert!(at <= self.len);
        self.start.wrapping_add(at)
    }

    /// # Safety
    /// The range lies inside, and nothing else uses that part of the slice while the result lives.
    pub(crate) unsafe fn part(self, range: Range<usize>) -> &'a mut [T] {
        debug_assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice, and nobody else's for now: both the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In each operation a thread that keeps step with the others has the same part of the rows.
        #[test]
        fn threads_in_step_have_neighbouring_parts(threads in 1usize..20, each in 1usize..20) {
            for thread in 0..threads {
                let parts: Vec<usize> = (0..each).map(|i| in_step(thread + i * threads, each * threads, threads)).collect();
                prop_assert_eq!(parts, (thread * each..(thread + 1) * each).collect::<Vec<_>>());
            }
        }
    }
}
