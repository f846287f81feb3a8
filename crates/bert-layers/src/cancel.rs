//! A flag that stops work under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// Stops a call from another thread. Clones share one flag; it is read before each operation, and in float32 between the blocks
/// of rows that a product is computed in.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    /// As good as set when all of these are, and there are some.
    all: Vec<Cancel>,
}

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag: the calls that hold it end with [`Error::Cancelled`] as soon as they see it.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::Relaxed);
    }

    /// For work that several calls share: it ends when none of them wants it any more.
    pub(crate) fn all(mut calls: Vec<Cancel>) -> Self {
        match calls.pop() {
            Some(only) if calls.is_empty() => only,
            last => Self(Arc::new(Flag { set: AtomicBool::new(false), all: calls.into_iter().chain(last).collect() })),
        }
    }

    /// An error once the flag is set.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn is_set(&self) -> bool {
        let Flag { set, all } = &*self.0;
        set.load(Ordering::Relaxed) || (!all.is_empty() && all.iter().all(Self::is_set))
    }
}
