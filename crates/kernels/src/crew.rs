//! Threads that wait for work at the ready: a [`Team`] whose calls are meant to cost less than waking a thread.
//!
//! An encoder that spreads one short text over several threads meets them some hundred times in a few milliseconds. A task
//! pool, which parks its threads and wakes them by way of the system, would cost as much as the work. These threads spin
//! for a moment after each call, and sleep only when none follows.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::{any::Any, hint, io};

use crate::Team;
use crate::sleeper::Sleeper;

/// How often an idle thread looks for work before it sleeps: some 50 µs, longer than an encoder is busy between two calls.
const LOOKS: usize = 2_000;

/// How often the caller looks whether the last tasks are done before it lets others have its processor.
const IMPATIENT: usize = 10_000;

/// `threads - 1` threads and the one that calls [`run`](Team::run). Callers take turns, in the order they came.
pub struct Crew {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
    turns: Turns,
}

/// What the tasks of one call are: a function borrowed from the caller, who waits until nobody uses it any more.
type Task = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// The tasks of the call in the high half, the next that nobody has taken in the low half. One word, so that who takes a
    /// task by adding 1 knows that the call it belongs to is still going on: it ends only after that task.
    ticket: AtomicU64,
    /// Valid while tasks of a call are unfinished.
    task: UnsafeCell<Option<Task>>,
    /// Tasks that are not finished.
    unfinished: AtomicUsize,
    /// The first panic of a task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// One for each member.
    sleepers: Vec<Sleeper>,
    stop: AtomicBool,
}

// SAFETY: `task` is written only by the caller whose turn it is, before its ticket is published and after all tasks are
// finished; it is read only by who holds a task in between. The function behind it is Sync.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is of no thread in particular.
unsafe impl Send for Shared {}

impl Crew {
    /// Starts `threads - 1` threads; with one, the caller works alone.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(threads: usize) -> io::Result<Self> {
        let others = threads.saturating_sub(1);
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            task: UnsafeCell::new(None),
            unfinished: AtomicUsize::new(0),
            panic: Mutex::new(None),
            sleepers: (0..others).map(|_| Sleeper::default()).collect(),
            stop: AtomicBool::new(false),
        });
        let mut crew = Self { shared, members: Vec::with_capacity(others), turns: Turns::default() };
        for member in 0..others {
            let shared = crew.shared.clone();
            let body = move || shared.serve(member);
            // A failure drops the crew, which ends those that were started.
            crew.members.push(thread::Builder::new().name(format!("bert-layers-{member}")).spawn(body)?);
        }
        Ok(crew)
    }
}

impl Team for Crew {
    fn threads(&self) -> usize {
        self.members.len() + 1
    }

    /// # Panics
    /// When a task does, after the others are done.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let done = self.start_tasks(tasks, task, false);
        debug_assert_eq!(done, tasks);
    }
}

impl Crew {
    /// Like [`run`](Team::run), for tasks that are long: after each task that this caller does itself it looks whether other
    /// callers wait, and if so lets them have a turn before it goes on.
    ///
    /// # Panics
    /// When a task does.
    pub fn run_long(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let mut done = 0;
        while done < tasks {
            let first = done;
            done += self.start_tasks(tasks - first, &|i| task(first + i), true);
        }
    }

    /// Runs tasks from the first on, all of them or, if `give_way`, until somebody else waits; how many were run.
    fn start_tasks(&self, tasks: usize, task: &(dyn Fn(usize) + Sync), give_way: bool) -> usize {
        assert!(tasks <= u32::MAX as usize, "too many tasks");
        if tasks <= 1 || self.members.is_empty() {
            (0..tasks).for_each(task);
            return tasks;
        }
        let _turn = self.turns.take();
        let shared = &*self.shared;
        shared.unfinished.store(tasks, Ordering::Relaxed);
        // SAFETY: only the lifetime changes, which the wait below outlasts. No task is unfinished, so nobody reads.
        unsafe { *shared.task.get() = Some(std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Task>(task)) };
        shared.ticket.store((tasks as u64) << 32, Ordering::SeqCst);
        // No more than have something to do: a small call does not pay for waking everybody. Nothing here panics, as tasks run already.
        for (sleeper, member) in shared.sleepers.iter().zip(&self.members).take(tasks - 1) {
            sleeper.wake(member.thread());
        }
        let mut taken = tasks;
        while shared.work() {
            if give_way && self.turns.somebody_waits() {
                // All that nobody has taken count as taken, and as finished, from now on.
                let ticket = shared.ticket.swap((tasks as u64) << 32 | tasks as u64, Ordering::AcqRel);
                taken = (ticket as u32 as usize).min(tasks);
                shared.unfinished.fetch_sub(tasks - taken, Ordering::Release);
                break;
            }
        }
        let mut looks = 0;
        while shared.unfinished.load(Ordering::Acquire) != 0 {
            hint::spin_loop();
            looks += 1;
            if looks > IMPATIENT {
                thread::yield_now(); // more threads than processors: the one we wait for may need ours
            }
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        taken
    }
}

/// A lock that is given in the order in which it was asked for: `std`'s may give it to the same thread again and again.
#[derive(Default)]
struct Turns {
    /// The turn that is on, and the next that nobody has asked for.
    state: Mutex<(u64, u64)>,
    over: Condvar,
}

struct Turn<'a>(&'a Turns);

impl Turns {
    fn take(&self) -> Turn<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = state.1;
        state.1 += 1;
        while state.0 != mine {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
    }

    fn somebody_waits(&self) -> bool {
        let (on, next) = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        next > on + 1
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        if state.1 > state.0 {
            self.0.over.notify_all();
        }
    }
}

/// Whether a ticket has tasks that nobody has taken.
fn available(ticket: u64) -> bool {
    (ticket as u32) < (ticket >> 32) as u32
}

impl Shared {
    /// Does one task, if there is one that nobody has taken.
    fn work(&self) -> bool {
        // Looking first keeps idle threads from writing to a line that all share.
        if !available(self.ticket.load(Ordering::Relaxed)) {
            return false;
        }
        let ticket = self.ticket.fetch_add(1, Ordering::AcqRel);
        if !available(ticket) {
            return false;
        }
        // SAFETY: task `ticket` of the present call is ours and not finished, so the call waits and its function lives.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
            if let Some(task) = *self.task.get() {
                (*task)(ticket as u32 as usize);
            }
        }));
        if let Err(panic) = outcome {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        self.unfinished.fetch_sub(1, Ordering::Release);
        true
    }

    /// The life of a member.
    fn serve(&self, member: usize) {
        let sleeper = &self.sleepers[member];
        sleeper.introduce();
        let mut looks = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.work() {
                looks = 0;
            } else if looks < LOOKS {
                looks += 1;
                hint::spin_loop();
            } else {
                sleeper
                    .sleep_unless(|| available(self.ticket.load(Ordering::SeqCst)) || self.stop.load(Ordering::SeqCst));
                looks = 0;
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.members.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        for member in self.members.drain(..) {
            let _ = member.join(); // its panics were caught and handed on
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in 1..6 {
            let crew = Crew::start(threads).expect("threads");
            for tasks in (0..200).chain([1000, 0, 1]) {
                let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                crew.run(tasks, &|task| {
                    runs[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1), "{tasks} tasks, {threads} threads");
            }
        }
    }

    #[test]
    fn calls_take_turns() {
        let crew = Crew::start(3).expect("threads");
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        crew.run(7, &|task| {
                            sum.fetch_add(task, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 500 * 21);
    }

    #[test]
    fn long_calls_give_way() {
        let crew = Crew::start(2).expect("threads");
        let (started, runs) = (AtomicBool::new(false), AtomicUsize::new(0));
        let at_the_short_call = thread::scope(|scope| {
            scope.spawn(|| {
                crew.run_long(400, &|_| {
                    started.store(true, Ordering::SeqCst);
                    thread::sleep(std::time::Duration::from_millis(1));
                    runs.fetch_add(1, Ordering::SeqCst);
                });
            });
            while !started.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            crew.run(2, &|_| {});
            runs.load(Ordering::SeqCst)
        });
        assert!(at_the_short_call < 400, "the short call waited for the whole long one");
        assert_eq!(runs.into_inner(), 400, "every task runs once all the same");
    }

    #[test]
    fn sleepers_wake_and_a_panic_reaches_the_caller() {
        let crew = Crew::start(3).expect("threads");
        for _ in 0..3 {
            thread::sleep(std::time::Duration::from_millis(20)); // all asleep by now
            let panic = catch_unwind(AssertUnwindSafe(|| crew.run(50, &|task| assert_ne!(task, 17, "seventeen"))));
            assert!(panic.is_err());
            let done = AtomicUsize::new(0);
            crew.run(50, &|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 50);
        }
    }
}
