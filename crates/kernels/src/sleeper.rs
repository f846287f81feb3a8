//! How a member of a crew sleeps, and on which processor it wakes.
//!
//! Linux wakes a thread where a processor idles. But in a virtual machine it thinks a processor busy that has idled for some
//! milliseconds, as the host has halted it, and wakes the thread on its waker's instead. The two then take turns there while the other
//! processor idles, often for all of a short text: 16 tokens through a BERT-base in int8 took 9.8 ms where one call came 20 ms after the
//! other, and 4.7 ms without pauses (two virtual processors of a Zen 4, Linux 6.18). So who wakes a thread keeps it off its own
//! processor, and the thread lifts that as soon as it runs, so that it goes where the system or the user wants it: 5.1 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};

/// A thread that sleeps at times.
#[derive(Default)]
pub(crate) struct Sleeper {
    asleep: AtomicBool,
    /// Where it may run. Only who takes `asleep` from true narrows that, so the thread, if it finds it false, has something to lift.
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
    use std::sync::OnceLock;

    use rustix::process::{Pid, getpid};
    use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// Where a thread may run. What the system refuses is left: it is only about speed.
    #[derive(Default)]
    pub(super) struct Place {
        /// The thread and its process, unless neither is to be asked for.
        thread: Option<(Pid, Pid)>,
        /// Where it might run before somebody kept it off a processor.
        before: Option<CpuSet>,
    }

    impl Place {
        pub(super) fn of_this_thread() -> Self {
            Self { thread: (!may_be_killed()).then(|| (gettid(), getpid())), before: None }
        }

        /// This thread's, as if it had been kept off a processor of these.
        #[cfg(test)]
        pub(super) fn narrowed(before: CpuSet) -> Self {
            Self { before: Some(before), ..Self::of_this_thread() }
        }

        /// Keeps the thread off the processor that this is called on, if it may use another.
        pub(super) fn elsewhere(&mut self) {
            // A process that was forked has this memory, and not the thread.
            let Some((thread, _)) = self.thread.filter(|&(_, process)| process == getpid()) else { return };
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

        /// Lifts that. Called by the thread.
        pub(super) fn anywhere(&mut self) {
            let Some(before) = self.before.take() else { return };
            // All that there are first: what is asked for limits what a control group that changes can give later. Only what a user
            // asked for, with taskset say, is asked for again.
            let _ = sched_setaffinity(None, &every_processor());
            if sched_getaffinity(None).is_ok_and(|now| now != before) {
                let _ = sched_setaffinity(None, &before);
            }
        }
    }

    fn every_processor() -> CpuSet {
        let mut every = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|processor| every.set(processor));
        every
    }

    /// Whether a filter of system calls, which may kill a process for setting an affinity, could be one of a hardened service's: systemd
    /// has the call among those that such services give up. A container's refuses at most.
    pub(super) fn may_be_killed() -> bool {
        static MAY_BE: OnceLock<bool> = OnceLock::new();
        *MAY_BE.get_or_init(|| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let has = |line: &str| status.lines().any(|found| found == line);
            has("Seccomp:\t2") && has("NoNewPrivs:\t1")
        })
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
    use std::collections::HashSet;
    use std::time::Duration;

    use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

    use super::*;
    use crate::{Crew, Team};

    fn allowed() -> CpuSet {
        sched_getaffinity(None).expect("it could be read before")
    }

    /// The processors that this thread may use, where a thread may choose among them.
    fn choice() -> Option<CpuSet> {
        let all = sched_getaffinity(None).ok().filter(|_| !linux::may_be_killed())?;
        sched_setaffinity(None, &all).is_ok().then_some(all)
    }

    #[test]
    fn a_thread_is_kept_off_one_processor_until_it_runs() {
        let Some(all) = choice() else { return };
        let mut place = Place::of_this_thread();
        place.elsewhere();
        assert_eq!(allowed().count(), (all.count() - 1).max(1));
        place.anywhere();
        assert_eq!(allowed(), all);
    }

    #[test]
    fn what_a_user_asked_for_stays() {
        let Some(all) = choice() else { return };
        let mut asked = CpuSet::new();
        asked.set((0..CpuSet::MAX_CPU).find(|&processor| all.is_set(processor)).expect("one"));
        let mut place = Place::narrowed(asked);
        place.anywhere();
        let now = allowed();
        sched_setaffinity(None, &all).expect("as before"); // other tests may run on this thread
        assert_eq!(now, asked);
    }

    #[test]
    fn members_that_were_woken_may_run_anywhere() {
        let Some(all) = choice() else { return };
        let crew = Crew::start(3).expect("threads");
        let seen = Mutex::new(HashSet::new());
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(20)); // all asleep by now
            crew.run(200, &|_| {
                thread::sleep(Duration::from_micros(100)); // so that each thread gets some
                assert_eq!(allowed(), all);
                seen.lock().expect("no panic").insert(gettid());
            });
        }
        assert_eq!(seen.into_inner().expect("no panic").len(), 3);
    }
}
