//! The threads that compute: one crew for each number of threads, shared by every encoder of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bert_layers_kernels::Crew;

use crate::{Error, Result};

/// As many threads as the process may use: its affinity and its control group's quota count.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// More threads than any machine has cores: beyond it a number is a mistake.
const MAX_THREADS: usize = 1024;

/// The crew of as many threads as the user chose, or else of as many as the process may use.
pub(crate) fn chosen_crew(threads: Option<usize>) -> Result<Arc<Crew>> {
    let threads = threads.unwrap_or_else(default_threads);
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(Error::InvalidInput(format!("threads must be 1 to {MAX_THREADS}, is {threads}")));
    }
    crew(threads)
}

/// The crew of so many threads. Two encoders that ask for the same number share it, and so do not compete for the cores.
pub(crate) fn crew(threads: usize) -> Result<Arc<Crew>> {
    static CREWS: Mutex<Option<HashMap<usize, Arc<Crew>>>> = Mutex::new(None);
    let mut crews = CREWS.lock().unwrap_or_else(PoisonError::into_inner);
    let crews = crews.get_or_insert_default();
    if let Some(crew) = crews.get(&threads) {
        return Ok(crew.clone());
    }
    let crew = Crew::start(threads).map_err(|e| Error::Internal(format!("cannot start {threads} threads: {e}")))?;
    let crew = Arc::new(crew);
    crews.insert(threads, crew.clone());
    Ok(crew)
}

/// `job` of each of `0..count`, in order, or the first error in that order. Other calls get turns in between.
pub(crate) fn map<T: Send + Sync>(
    crew: &Crew,
    count: usize,
    job: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let done: Vec<OnceLock<Result<T>>> = (0..count).map(|_| OnceLock::new()).collect();
    crew.run_long(count, &|i| {
        // Each is set once: an index is run once.
        let _ = done[i].set(job(i));
    });
    let missing = || Err(Error::Internal("a task did not run".into()));
    done.into_iter().map(|result| result.into_inner().unwrap_or_else(missing)).collect()
}
