//! The thread that computes. It drives the engine's queue, in which short calls go first and small ones share batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bert_layers::{Call, Cancel, Encoder, Queue, Result, Task};
use napi::Env;
use napi::bindgen_prelude::Object;

use crate::queue::{Answer, Reply, spawn};

/// Calls on their way to the thread. It ends, and the encoder goes, when this is dropped and the calls are done.
pub struct Calls {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
    /// The tokens of the shortest call that has come and was not yet taken; read between the texts of a long one.
    shortest: AtomicUsize,
}

#[derive(Default)]
struct State {
    arrived: Vec<Task>,
    /// No more calls come; what to do when all are done and the encoder is gone.
    end: Option<Box<dyn FnOnce() + Send>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the thread.
    fn serve(&self, encoder: Encoder) {
        let mut queue = Queue::new(&encoder);
        loop {
            let mut state = self.lock();
            while queue.is_empty() && state.arrived.is_empty() && state.end.is_none() {
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.arrived.drain(..).for_each(|task| queue.push(task));
            self.shortest.store(usize::MAX, Ordering::Relaxed);
            if queue.is_empty()
                && let Some(end) = state.end.take()
            {
                drop(state);
                drop(encoder);
                return end();
            }
            drop(state);
            queue.step(&encoder, &|| self.shortest.load(Ordering::Relaxed));
        }
    }
}

impl Calls {
    /// Starts the thread.
    pub fn start(encoder: Encoder) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let served = shared.clone();
        spawn("bert-layers-calls", move || served.serve(encoder))?;
        Ok(Self { shared })
    }

    /// Queues a call of about `tokens` tokens; the promise is for its result.
    pub fn promise<'env, T, V, C>(
        &self,
        env: &'env Env,
        tokens: usize,
        cancel: Cancel,
        prepare: impl FnOnce(&Encoder) -> Result<Call<C>> + Send + 'static,
    ) -> napi::Result<Object<'env>>
    where
        T: Answer + From<Result<V>>,
        V: Send + From<C> + 'static,
        C: 'static,
    {
        let (reply, promise) = Reply::<T>::new(env)?;
        let task = Task::new(tokens, cancel, prepare, |result| reply.send(result.map(V::from)));
        let mut state = self.shared.lock();
        state.arrived.push(task);
        self.shared.shortest.fetch_min(tokens, Ordering::Relaxed);
        drop(state);
        self.shared.news.notify_one();
        Ok(promise)
    }

    /// Drops the encoder after the calls that are queued, and then does `before`; the promise is for that moment.
    pub fn close<'env, T>(self, env: &'env Env, before: impl FnOnce() + Send + 'static) -> napi::Result<Object<'env>>
    where
        T: Answer + From<Result<()>>,
    {
        let (reply, promise) = Reply::<T>::new(env)?;
        self.end(move || {
            before();
            reply.send(Ok(()));
        });
        Ok(promise)
    }

    fn end(&self, then: impl FnOnce() + Send + 'static) {
        self.shared.lock().end.get_or_insert_with(|| Box::new(then));
        self.shared.news.notify_one();
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.end(|| {});
    }
}
