//! How a member of a crew sleeps, and on which processor it wakes.
//!
//! Linux wakes a thread where a processor idles. But in a virtual machine it takes one that has idled for some milliseconds, and that the
//! host has halted since, for one that cannot be had, and wakes the thread on the processor of who wakes it. The two then take turns there
//! while the other processor idles, often for all of a short text: 16 tokens through a BERT-base in int8 took 9.8 ms where one call
//! came 20 ms after the other, and 4.7 ms without pauses (two virtual processors of a Zen 4, Linux 6.18). So who wakes a thread keeps it
//! off its own processor, and the thread lifts that as soon as it runs, so that it goes where the system or the user wants it: 5.1 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};

/// A thread that sleeps at times.
#[derive(Default)]
pub(crate) struct Sleeper {
    asleep: AtomicBool,
    /// Locked while somebody wakes it.
    place: Mutex<Place>,
}

impl Sleeper {
    /// Called by the thread before it sleeps for the first time.
    pub(crate) fn introduce(&self) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Place::of_this_thread();
    }

    /// Lets the thread, which calls this, sleep until somebody wakes it, unless there is work.
    pub(crate) fn sleep_unless(&self, work: impl FnOnce() -> bool) {
        // Say so first and look once more then: work that comes in between either sees it or is seen.
        self.asleep.store(true, Ordering::SeqCst);
        if !work() {
            thread::park();
        }
        let woken = !self.asleep.swap(false, Ordering::SeqCst);
        if woken {
            self.place.lock().unwrap_or_else(PoisonError::into_inner).anywhere();
        }
    }

    /// Wakes the thread, if it sleeps, to see work that is there already.
    pub(crate) fn wake(&self, thread: &Thread) {
        if !self.asleep.load(Ordering::SeqCst) {
            return;
        }
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if self.asleep.swap(false, Ordering::SeqCst) {
            place.elsewhere();
            drop(place);
            thread.unpark();
        }
    }
}

#[cfg(target_os = "linux")]
use linux::Place;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::Pid;
    use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// Where a thread may run. What the system refuses is left: it is only about speed.
    #[derive(Default)]
    pub(super) struct Place {
        thread: Option<Pid>,
        /// Where it might run before somebody kept it off a processor.
        before: Option<CpuSet>,
    }

    impl Place {
        pub(super) fn of_this_thread() -> Self {
            Self { thread: Some(gettid()), before: None }
        }

        /// Keeps the thread off the processor that this is called on, if it may use another.
        pub(super) fn elsewhere(&mut self) {
            let Some(thread) = self.thread else { return };
            let Ok(all) = sched_getaffinity(Some(thread)) else { return };
            let (here, mut others) = (sched_getcpu(), all);
            if here >= CpuSet::MAX_CPU || !all.is_set(here) || all.count() < 2 {
                return;
            }
            others.unset(here);
            if sched_setaffinity(Some(thread), &others).is_ok() {
                self.before = Some(all);
            }
        }

        /// Lifts that.
        pub(super) fn anywhere(&mut self) {
            if let Some(all) = self.before.take() {
                let _ = sched_setaffinity(self.thread, &all);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::Place;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    /// Where a thread may run is up to the system.
    #[derive(Default)]
    pub(super) struct Place;

    impl Place {
        pub(super) fn of_this_thread() -> Self {
            Self
        }

        pub(super) fn elsewhere(&mut self) {}

        pub(super) fn anywhere(&mut self) {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::Duration;

    use rustix::process::Pid;
    use rustix::thread::{CpuSet, gettid, sched_getaffinity};

    use super::*;
    use crate::{Crew, Team};

    fn allowed(thread: Option<Pid>) -> CpuSet {
        sched_getaffinity(thread).expect("a thread's affinity")
    }

    #[test]
    fn a_thread_is_kept_off_one_processor_until_it_runs() {
        let all = allowed(None);
        let mut place = Place::of_this_thread();
        place.elsewhere();
        assert_eq!(allowed(None).count(), (all.count() - 1).max(1));
        place.anywhere();
        assert_eq!(allowed(None), all);
    }

    #[test]
    fn members_that_were_woken_may_run_anywhere() {
        let all = allowed(None);
        let crew = Crew::start(3).expect("threads");
        let seen = Mutex::new(HashMap::new());
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(20)); // all asleep by now
            crew.run(200, &|_| {
                thread::sleep(Duration::from_micros(100)); // so that each thread gets some
                seen.lock().expect("no panic").insert(gettid(), allowed(None));
            });
        }
        let seen = seen.into_inner().expect("no panic");
        assert_eq!(seen.len(), 3);
        assert!(seen.values().all(|allowed| *allowed == all), "{seen:?}, of {all:?}");
    }
}
