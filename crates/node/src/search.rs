//! The vector index as JavaScript sees it.

use bert_layers::{Error, IndexOptions, Neighbors, Result, SearchOptions, VectorIndex, catch};
use napi::Env;
use napi::bindgen_prelude::{Float32Array, Object, ObjectFinalize, Uint32Array};
use napi_derive::napi;

use crate::cancel::CancelFlag;
use crate::encoder::VoidOutcome;
use crate::error::{NativeError, outcome};
use crate::queue::{Answer, Queue, promise};

/// What to make; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct IndexRequest {
    pub dim: u32,
    pub metric: String,
    pub precision: String,
    pub rescore: bool,
    pub threads: Option<u32>,
}

/// What to find; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct SearchRequest {
    pub k: u32,
    pub oversample: Option<f64>,
}

/// What a search found; its buffers are the engine's own.
#[napi(object, object_from_js = false)]
pub struct NativeNeighbors {
    pub k: u32,
    pub indices: Uint32Array,
    pub scores: Float32Array,
}

impl From<Neighbors> for NativeNeighbors {
    fn from(found: Neighbors) -> Self {
        let Neighbors { k, indices, scores } = found;
        Self { k: k as u32, indices: Uint32Array::new(indices), scores: Float32Array::new(scores) }
    }
}

outcome!(
    /// An index, or why there is none.
    IndexOutcome,
    NativeIndex
);
outcome!(
    /// Neighbours, or why there are none.
    SearchOutcome,
    NativeNeighbors
);

impl Answer for SearchOutcome {}

/// An index, until it is disposed of.
#[napi(custom_finalize)]
pub struct NativeIndex {
    /// None after `dispose`.
    queue: Option<Queue<VectorIndex>>,
    size: u32,
    dim: u32,
    bytes: i64,
    /// What V8 was told that this object holds.
    accounted: i64,
}

/// Copies a matrix, before it returns: JavaScript may write to it afterwards.
#[napi]
pub fn create_index(env: &Env, vectors: Float32Array, request: IndexRequest) -> napi::Result<IndexOutcome> {
    let mut outcome = IndexOutcome::from(catch(|| NativeIndex::new(&vectors, &request)));
    if let Some(index) = &mut outcome.value {
        env.adjust_external_memory(index.bytes)?;
        index.accounted = index.bytes;
    }
    Ok(outcome)
}

#[napi]
impl NativeIndex {
    /// Finds the nearest vectors to each query.
    #[napi]
    pub fn search<'env>(
        &self,
        env: &'env Env,
        queries: Float32Array,
        request: SearchRequest,
        cancel: &CancelFlag,
    ) -> napi::Result<Object<'env>> {
        // A copy: JavaScript may write to them while we compute.
        let queries = queries.to_vec();
        let oversample = request.oversample.unwrap_or(SearchOptions::default().oversample);
        let options = SearchOptions { oversample, cancel: cancel.inner.clone() };
        match &self.queue {
            Some(queue) => queue.promise::<SearchOutcome, _>(env, move |index| {
                Ok(index.search(&queries, request.k as usize, &options)?.into())
            }),
            None => promise::<SearchOutcome, NativeNeighbors>(env, || Err(Error::Disposed)),
        }
    }

    /// Takes no more searches, and lets the vectors go after those in flight.
    #[napi]
    pub fn dispose<'env>(&mut self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.release(env)?;
        match self.queue.take() {
            Some(queue) => promise::<VoidOutcome, ()>(env, || {
                queue.finish();
                Ok(())
            }),
            None => promise::<VoidOutcome, ()>(env, || Ok(())),
        }
    }

    #[napi(getter)]
    pub fn size(&self) -> u32 {
        self.size
    }

    #[napi(getter)]
    pub fn dim(&self) -> u32 {
        self.dim
    }

    /// Bytes that it takes, outside JavaScript's heap.
    #[napi(getter)]
    pub fn bytes(&self) -> f64 {
        self.bytes as f64
    }
}

impl ObjectFinalize for NativeIndex {
    fn finalize(mut self, env: Env) -> napi::Result<()> {
        self.release(&env)
    }
}

impl NativeIndex {
    fn new(vectors: &[f32], request: &IndexRequest) -> Result<Self> {
        let options = IndexOptions {
            metric: request.metric.parse()?,
            precision: request.precision.parse()?,
            rescore: request.rescore,
            threads: request.threads.map(|threads| threads as usize),
        };
        let index = VectorIndex::new(vectors, request.dim as usize, &options)?;
        Ok(Self {
            size: index.size() as u32,
            dim: request.dim,
            bytes: index.bytes() as i64,
            accounted: 0,
            queue: Some(Queue::start(index)?),
        })
    }

    /// Tells V8 that the vectors are no longer this object's.
    fn release(&mut self, env: &Env) -> napi::Result<()> {
        env.adjust_external_memory(-std::mem::take(&mut self.accounted)).map(drop)
    }
}
