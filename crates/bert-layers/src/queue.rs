//! Calls that wait, and what computes them: short ones first, small ones together. A queue has no thread of its own; whoever
//! drives it calls [`Queue::step`] for as long as something waits.

use std::collections::HashMap;

use crate::call::{Call, Work, compute};
use crate::encoder::Encoder;
use crate::error::catch;
use crate::schedule::{Batch, Schedule, Waiting};
use crate::{Cancel, Result};

/// A call before anything was done for it, whatever its result is.
pub struct Task {
    estimate: usize,
    cancel: Cancel,
    prepare: Prepare,
}

type Prepare = Box<dyn FnOnce(Result<&Encoder>) -> Option<Box<Ready>> + Send>;
type Done = Box<dyn FnOnce(Result<Work>) + Send>;

/// A prepared call.
struct Ready {
    work: Work,
    done: Done,
}

impl Task {
    /// A task of about `estimate` tokens: `prepare` is called when its turn comes, and `reply` once, with the result or with what
    /// went wrong.
    pub fn new<T: 'static>(
        estimate: usize,
        cancel: Cancel,
        prepare: impl FnOnce(&Encoder) -> Result<Call<T>> + Send + 'static,
        reply: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Self {
        let prepare = move |encoder: Result<&Encoder>| match encoder.and_then(|encoder| catch(|| prepare(encoder))) {
            Ok(Call { work, then }) => {
                let finish = |work: Work| {
                    catch(|| {
                        let (sequences, written) = work.finish();
                        then(sequences, written)
                    })
                };
                let done = move |work: Result<Work>| reply(work.and_then(finish));
                Some(Box::new(Ready { work, done: Box::new(done) }))
            }
            Err(error) => {
                reply(Err(error));
                None
            }
        };
        Self { estimate, cancel, prepare: Box::new(prepare) }
    }
}

enum State {
    New(Prepare),
    Ready(Box<Ready>),
}

struct Entry {
    cancel: Cancel,
    state: State,
}

/// Calls in the order they came.
pub struct Queue {
    schedule: Schedule,
    /// `waiting` is what the schedule sees of `entries`.
    waiting: Vec<Waiting>,
    entries: Vec<Entry>,
}

impl Queue {
    /// An empty queue for an encoder.
    pub fn new(encoder: &Encoder) -> Self {
        Self { schedule: Schedule::new(encoder.batch_tokens()), waiting: Vec::new(), entries: Vec::new() }
    }

    /// Adds a call.
    pub fn push(&mut self, Task { estimate, cancel, prepare }: Task) {
        self.waiting.push(Waiting::new(estimate.max(1)));
        self.entries.push(Entry { cancel, state: State::New(prepare) });
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Computes the next batch, and replies to the calls that are done then. A long call that is computed alone is interrupted, between
    /// two of its texts, for one that is much shorter: `arrived` says how many tokens the shortest has of those that have come
    /// and are not yet pushed.
    pub fn step(&mut self, encoder: &Encoder, arrived: &(dyn Fn() -> usize + Sync)) {
        self.drop_cancelled();
        let Some(batch) = self.prepare_next(encoder) else { return };
        self.schedule.begin(&batch, &mut self.waiting);
        let limits = batch.limits(self.waiting.len());
        let chosen = self.entries.iter_mut().zip(limits).enumerate().filter(|(_, (_, limit))| *limit > 0);
        let (calls, mut works): (Vec<usize>, Vec<_>) =
            chosen.filter_map(|(call, (entry, limit))| Some((call, (entry.work()?, limit)))).unzip();
        let running = works.iter().map(|(work, limit)| work.tokens().min(*limit)).sum();
        let stop = || self.schedule.gives_way(running, arrived());
        let outcomes = catch(|| Ok(compute(encoder, &mut works, &stop)));
        let outcomes = outcomes.unwrap_or_else(|error| vec![Err(error); calls.len()]);
        drop(works);
        self.reply(calls.into_iter().zip(outcomes).collect());
    }

    /// Prepares calls until all of the next batch are: that tells how long they are, and so may change who is next.
    fn prepare_next(&mut self, encoder: &Encoder) -> Option<Batch> {
        while !self.is_empty() {
            let batch = self.schedule.next(&self.waiting);
            let is_new = |&call: &usize| matches!(self.entries[call].state, State::New(_));
            if !batch.calls.iter().any(is_new) {
                return Some(batch);
            }
            let limits = batch.limits(self.waiting.len());
            self.update(|call, entry, waiting| {
                let prepare = match entry.state {
                    State::New(prepare) if limits[call] > 0 => prepare,
                    state => return Some(Entry { state, ..entry }),
                };
                let ready = prepare(Ok(encoder))?;
                (waiting.tokens, waiting.deepest) = (ready.work.tokens(), Some(ready.work.deepest()));
                Some(Entry { state: State::Ready(ready), ..entry })
            });
        }
        None
    }

    fn drop_cancelled(&mut self) {
        self.update(|_, entry, _| match entry.cancel.check() {
            Ok(()) => Some(entry),
            Err(cancelled) => entry.end(Err(cancelled)),
        });
    }

    /// Replies to those of a batch that are done or failed.
    fn reply(&mut self, mut outcomes: HashMap<usize, Result<()>>) {
        self.update(|call, mut entry, waiting| match outcomes.remove(&call) {
            Some(Err(error)) => entry.end(Err(error)),
            Some(Ok(())) => {
                waiting.tokens = entry.work().map_or(0, |work| work.tokens());
                if waiting.tokens == 0 { entry.end(Ok(())) } else { Some(entry) }
            }
            None => Some(entry),
        });
    }

    /// Puts what `each` gives in the place of each call, or nothing.
    fn update(&mut self, mut each: impl FnMut(usize, Entry, &mut Waiting) -> Option<Entry>) {
        let calls = std::mem::take(&mut self.entries).into_iter().zip(std::mem::take(&mut self.waiting));
        for (call, (entry, mut waiting)) in calls.enumerate() {
            if let Some(entry) = each(call, entry, &mut waiting) {
                self.entries.push(entry);
                self.waiting.push(waiting);
            }
        }
    }
}

impl Entry {
    fn work(&mut self) -> Option<&mut Work> {
        match &mut self.state {
            State::Ready(ready) => Some(&mut ready.work),
            State::New(_) => None,
        }
    }

    /// Replies. Nothing is left of the call.
    fn end(self, outcome: Result<()>) -> Option<Self> {
        match (self.state, outcome) {
            (State::Ready(ready), outcome) => {
                let Ready { work, done } = *ready;
                done(outcome.map(|()| work));
            }
            (State::New(prepare), Err(error)) => drop(prepare(Err(error))),
            (State::New(_), Ok(())) => {}
        }
        None
    }
}
