//! Work off JavaScript's thread, and its answers. Node's thread pool, which files and DNS share, is left alone.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bert_layers::{Error, Result, catch};
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred};

/// What a promise resolves to.
pub trait Answer: ToNapiValue + 'static {
    /// Called on JavaScript's thread, just before JavaScript gets the answer.
    fn arrive(&mut self, _env: &Env) -> napi::Result<()> {
        Ok(())
    }
}

type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<T> + Send>;

/// A promise's other end: resolves on JavaScript's thread, from any thread. If JavaScript's environment is gone by then,
/// the value is dropped.
pub struct Reply<T: Answer>(JsDeferred<T, Resolver<T>>);

impl<T: Answer> Reply<T> {
    /// A promise and its other end.
    pub fn new(env: &Env) -> napi::Result<(Self, Object<'_>)> {
        let (deferred, promise) = env.create_deferred::<T, Resolver<T>>()?;
        Ok((Self(deferred), promise))
    }

    /// Answers with what a job gave.
    pub fn send<V: Send + 'static>(self, result: Result<V>)
    where
        T: From<Result<V>>,
    {
        self.0.resolve(Box::new(move |env| {
            let mut answer = T::from(result);
            answer.arrive(&env)?;
            Ok(answer)
        }));
    }
}

type Job<S> = Box<dyn FnOnce(Result<&S>) + Send>;

/// A thread that owns a value and runs jobs on it, one after the other. It ends, and the value goes, when the queue is dropped
/// and the jobs are done.
pub struct Queue<S> {
    jobs: Sender<Job<S>>,
    thread: JoinHandle<()>,
}

impl<S: Send + 'static> Queue<S> {
    /// Starts the thread.
    pub fn start(value: S) -> Result<Self> {
        let (sender, jobs) = channel::<Job<S>>();
        let thread = spawn("bert-layers-queue", move || jobs.into_iter().for_each(|job| job(Ok(&value))))?;
        Ok(Self { jobs: sender, thread })
    }

    /// Queues a job; the promise is for its result.
    pub fn promise<'env, T, V>(
        &self,
        env: &'env Env,
        job: impl FnOnce(&S) -> Result<V> + Send + 'static,
    ) -> napi::Result<Object<'env>>
    where
        T: Answer + From<Result<V>>,
        V: Send + 'static,
    {
        let (reply, promise) = Reply::<T>::new(env)?;
        let job: Job<S> = Box::new(move |value| reply.send(value.and_then(|value| catch(|| job(value)))));
        // The thread is there for as long as this is, as its jobs do not panic; were it gone, the job would still be answered.
        if let Err(unsent) = self.jobs.send(job) {
            unsent.0(Err(Error::Disposed));
        }
        Ok(promise)
    }

    /// Waits for the jobs that are queued.
    pub fn finish(self) {
        drop(self.jobs);
        let _ = self.thread.join(); // a job's panic was caught and answered
    }
}

/// Runs a job on a thread of its own; the promise is for its result.
pub fn promise<'env, T, V>(
    env: &'env Env,
    job: impl FnOnce() -> Result<V> + Send + 'static,
) -> napi::Result<Object<'env>>
where
    T: Answer + From<Result<V>>,
    V: Send + 'static,
{
    let (reply, promise) = Reply::<T>::new(env)?;
    // Shared, since a thread that does not start takes its body along: a promise that nobody settles keeps Node alive for ever.
    let reply = Arc::new(Mutex::new(Some(reply)));
    let answer = move |result| {
        if let Some(reply) = reply.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reply.send(result);
        }
    };
    let theirs = answer.clone();
    if let Err(error) = spawn("bert-layers-load", move || theirs(catch(job))) {
        answer(Err(error));
    }
    Ok(promise)
}

pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.into()).spawn(body);
    thread.map_err(|e| Error::Internal(format!("cannot start a thread: {e}")))
}
