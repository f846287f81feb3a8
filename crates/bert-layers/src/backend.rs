//! A loaded model on one device: how chunks of a batch meet its threads.

use std::cmp::Reverse;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bert_layers_kernels::{Crew, Kernels, Solo, Team};
use candle_core::DType;

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::device::Device;
use crate::encoder::LoadOptions;
use crate::model::{self, Model};
use crate::ops::{Candle, Cpu, Ops};
use crate::sink::Sink;
use crate::weights::Summary;
use crate::{Cancel, Dtype, Error, Result, Tokens};

/// Rows of a chunk that one thread carries through all layers: few enough to stay in a core's cache, enough to keep the
/// weights' way into it short.
const CHUNK_ROWS: usize = 128;

/// A run of a batch's texts, and where its rows go.
pub(crate) struct Job<'r> {
    pub texts: Range<usize>,
    pub sink: Sink<'r>,
    pub cancel: Cancel,
}

/// Computes batches.
pub(crate) trait Backend: Send + Sync {
    /// The runs that a batch is computed in.
    fn split(&self, batch: &PackedBatch<'_>, threads: usize) -> Vec<Range<usize>>;

    /// Computes the runs that the batch was [split](Self::split) into. Once `stop` says so no more are begun. Says of each run whether it
    /// was computed, or what went wrong.
    fn run(
        &self,
        batch: &PackedBatch<'_>,
        jobs: Vec<Job<'_>>,
        crew: &Arc<Crew>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Vec<Result<bool>>;

    /// How many tokens a batch needs for this device, with so many threads, to be busy.
    fn batch_tokens(&self, threads: usize) -> usize;

    fn has_pooler(&self) -> bool;
    /// The instruction set, or the device's library.
    fn instruction_set(&self) -> &'static str;
}

/// Loads the model in `folder` for a device, by the threads of `crew`.
pub(crate) fn load(
    config: &ModelConfig,
    folder: &Path,
    device: &Device,
    options: &LoadOptions,
    samples: &Tokens,
    crew: &Arc<Crew>,
) -> Result<(Box<dyn Backend>, Summary)> {
    let LoadOptions { dtype, last_layer, cancel, .. } = options;
    match device {
        Device::Cpu => {
            let kernels = Kernels::chosen().map_err(|e| Error::DeviceUnavailable(e.to_string()))?;
            let ops = Cpu::new(kernels, *dtype, crew.clone());
            let (model, summary) = model::load(&ops, config, folder, *last_layer, samples, crew, cancel)?;
            Ok((Box::new(OnCpu { ops, model }), summary))
        }
        Device::Candle(device) => {
            let ops = Candle::new(device.clone(), on_candle(*dtype)?, Arc::new(Solo));
            let (model, summary) = model::load(&ops, config, folder, *last_layer, samples, crew, cancel)?;
            Ok((Box::new(OnCandle { model, ops, turn: Mutex::default(), name: "candle" }), summary))
        }
        #[cfg(feature = "cuda")]
        Device::Gpu(_, gpu) => {
            let ops = Candle::on_gpu(gpu.clone(), on_candle(*dtype)?, Arc::new(Solo));
            let (model, summary) = model::load(&ops, config, folder, *last_layer, samples, crew, cancel)?;
            gpu.synchronize()?; // what goes wrong with the weights is the load's error
            Ok((Box::new(OnCandle { model, ops, turn: Mutex::default(), name: "cuda" }), summary))
        }
    }
}

/// What candle calls a precision.
fn on_candle(dtype: Dtype) -> Result<DType> {
    match dtype {
        Dtype::Float32 => Ok(DType::F32),
        Dtype::Float16 => Ok(DType::F16),
        Dtype::Bfloat16 => Ok(DType::BF16),
        Dtype::Int8 => Err(Error::DeviceUnavailable("dtype 'int8' is for the CPU".into())),
    }
}

struct OnCpu {
    ops: Cpu,
    model: Box<dyn Model<Cpu>>,
}

impl OnCpu {
    /// Whether all threads work on each run together: there are fewer texts than threads.
    fn shares_runs(batch: &PackedBatch<'_>, threads: usize) -> bool {
        batch.texts() < threads || threads == 1
    }
}

impl Backend for OnCpu {
    fn split(&self, batch: &PackedBatch<'_>, threads: usize) -> Vec<Range<usize>> {
        match Self::shares_runs(batch, threads) {
            true => batch.split(1, CHUNK_ROWS * threads),
            false => batch.split(threads, CHUNK_ROWS),
        }
    }

    fn run(
        &self,
        batch: &PackedBatch<'_>,
        jobs: Vec<Job<'_>>,
        crew: &Arc<Crew>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Vec<Result<bool>> {
        let one = |job: Job<'_>, team: Arc<dyn Team + Send>| {
            let ops = self.ops.with(team, &job.cancel);
            forward(&*self.model, &ops, batch, job, stop)
        };
        if Self::shares_runs(batch, crew.threads()) {
            return jobs.into_iter().map(|job| one(job, crew.clone())).collect();
        }
        // A thread carries its run through all layers alone, waiting for nobody.
        let solo: Arc<dyn Team + Send> = Arc::new(Solo);
        // The longest first, so that those which are left in the end, when a thread may have to wait for the others, are short.
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|&i| Reverse(batch.rows(&jobs[i].texts).len()));
        let jobs: Vec<_> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
        let done: Vec<OnceLock<Result<bool>>> = jobs.iter().map(|_| OnceLock::new()).collect();
        crew.run_long(jobs.len(), &|turn| {
            let i = order[turn];
            // Each is there once, and set once: an index is run once.
            if let Some(job) = jobs[i].lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = done[i].set(one(job, solo.clone()));
            }
        });
        done.into_iter().map(|done| done.into_inner().unwrap_or(Ok(false))).collect()
    }

    /// Two texts of the usual limit, or a run for each thread.
    fn batch_tokens(&self, threads: usize) -> usize {
        (CHUNK_ROWS * threads).max(1024)
    }

    fn has_pooler(&self) -> bool {
        self.model.has_pooler()
    }

    fn instruction_set(&self) -> &'static str {
        self.ops.kernels().name()
    }
}

struct OnCandle {
    /// Before the operations, whose end gives the device's memory back to the system.
    model: Box<dyn Model<Candle>>,
    ops: Candle,
    /// A model has one stream of work: encoders that share it take turns, a batch at a time.
    turn: Mutex<()>,
    /// The library whose numbers these are.
    name: &'static str,
}

/// Rows of a run on a device that has its own threads; this bounds its memory.
const DEVICE_ROWS: usize = 128 * CHUNK_ROWS;

impl Drop for OnCandle {
    /// The last thread that used a model drops it, which may be one that the device has not seen.
    fn drop(&mut self) {
        self.ops.settle_device();
    }
}

impl Backend for OnCandle {
    fn split(&self, batch: &PackedBatch<'_>, _: usize) -> Vec<Range<usize>> {
        batch.split(1, DEVICE_ROWS)
    }

    fn run(
        &self,
        batch: &PackedBatch<'_>,
        jobs: Vec<Job<'_>>,
        crew: &Arc<Crew>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Vec<Result<bool>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |job: Job<'_>| {
            let ops = self.ops.with(crew.clone(), &job.cancel);
            forward(&*self.model, &ops, batch, job, stop)
        };
        jobs.into_iter().map(one).collect()
    }

    fn batch_tokens(&self, _: usize) -> usize {
        DEVICE_ROWS
    }

    fn has_pooler(&self) -> bool {
        self.model.has_pooler()
    }

    fn instruction_set(&self) -> &'static str {
        self.name
    }
}

/// Computes one run, unless nothing is to be begun any more.
fn forward<O: Ops>(
    model: &dyn Model<O>,
    ops: &O,
    batch: &PackedBatch<'_>,
    job: Job<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<bool> {
    let Job { texts, sink, cancel } = job;
    if stop() {
        return Ok(false);
    }
    cancel.check()?;
    model.forward(ops, &batch.chunk(&texts, &batch.ranges(&texts)), sink)?;
    Ok(true)
}
