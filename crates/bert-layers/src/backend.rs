//! A loaded model on one device: how chunks of a batch meet its threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bert_layers_kernels::{Crew, Kernels, Solo, Team};
use candle_core::DType;

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::device::Device;
use crate::model::{self, Model};
use crate::ops::{Candle, Cpu};
use crate::output::Output;
use crate::sink::Sink;
use crate::threads;
use crate::weights::Summary;
use crate::{Cancel, Dtype, Error, Result, Tokens};

/// Rows of a chunk that one thread carries through all layers: few enough to stay in a core's cache, enough to keep the
/// weights' way into it short.
const CHUNK_ROWS: usize = 128;

/// Runs a batch into its result.
pub(crate) trait Backend: Send + Sync {
    fn run(&self, batch: &PackedBatch<'_>, out: &mut Output, crew: &Arc<Crew>, cancel: &Cancel) -> Result<()>;
    fn has_pooler(&self) -> bool;
    /// The instruction set, or the device's library.
    fn instruction_set(&self) -> &'static str;
}

/// Loads the model in `folder` for a device.
pub(crate) fn load(
    config: &ModelConfig,
    folder: &Path,
    device: &Device,
    dtype: Dtype,
    samples: &Tokens,
    cancel: &Cancel,
) -> Result<(Box<dyn Backend>, Summary)> {
    match device {
        Device::Cpu => {
            let kernels = Kernels::chosen().map_err(|e| Error::DeviceUnavailable(e.to_string()))?;
            let ops = Cpu::new(kernels, dtype, Arc::new(Solo));
            let (model, summary) = model::load(&ops, config, folder, samples, cancel)?;
            Ok((Box::new(OnCpu { ops, model }), summary))
        }
        Device::Candle(device) => {
            let dtype = match dtype {
                Dtype::Float32 => DType::F32,
                Dtype::Float16 => DType::F16,
                Dtype::Bfloat16 => DType::BF16,
                Dtype::Int8 => return Err(Error::DeviceUnavailable("dtype 'int8' is for the CPU".into())),
            };
            let ops = Candle::new(device.clone(), dtype);
            let (model, summary) = model::load(&ops, config, folder, samples, cancel)?;
            Ok((Box::new(OnCandle { ops, model }), summary))
        }
    }
}

struct OnCpu {
    ops: Cpu,
    model: Box<dyn Model<Cpu>>,
}

impl Backend for OnCpu {
    fn run(&self, batch: &PackedBatch<'_>, out: &mut Output, crew: &Arc<Crew>, cancel: &Cancel) -> Result<()> {
        let threads = crew.threads();
        if batch.texts() < threads || threads == 1 {
            // Fewer texts than threads: all threads work on each chunk together.
            let runs = batch.split(1, CHUNK_ROWS * threads);
            let ops = self.ops.with(crew.clone(), cancel);
            for (texts, part) in runs.iter().zip(out.parts(batch, &runs)) {
                self.model.forward(&ops, &batch.chunk(texts, &batch.ranges(texts)), Sink::new(vec![part]))?;
            }
            return Ok(());
        }
        // Otherwise a thread carries its chunk through all layers alone, waiting for nobody.
        let runs = batch.split(threads, CHUNK_ROWS);
        let ops = self.ops.with(Arc::new(Solo), cancel);
        let parts: Vec<_> = out.parts(batch, &runs).into_iter().map(|part| Mutex::new(Some(part))).collect();
        threads::map(crew, runs.len(), |i| {
            let part = parts[i].lock().unwrap_or_else(PoisonError::into_inner).take();
            match part.map(|part| Sink::new(vec![part])) {
                Some(sink) => self.model.forward(&ops, &batch.chunk(&runs[i], &batch.ranges(&runs[i])), sink),
                None => Err(Error::Internal("a chunk was computed twice".into())),
            }
        })
        .map(drop)
    }

    fn has_pooler(&self) -> bool {
        self.model.has_pooler()
    }

    fn instruction_set(&self) -> &'static str {
        self.ops.kernels().name()
    }
}

struct OnCandle {
    ops: Candle,
    model: Box<dyn Model<Candle>>,
}

impl Backend for OnCandle {
    fn run(&self, batch: &PackedBatch<'_>, out: &mut Output, _: &Arc<Crew>, cancel: &Cancel) -> Result<()> {
        let runs = batch.split(1, 64 * CHUNK_ROWS); // the device has its own threads; this bounds its memory
        let ops = self.ops.cancelled_by(cancel);
        for (texts, part) in runs.iter().zip(out.parts(batch, &runs)) {
            self.model.forward(&ops, &batch.chunk(texts, &batch.ranges(texts)), Sink::new(vec![part]))?;
        }
        Ok(())
    }

    fn has_pooler(&self) -> bool {
        self.model.has_pooler()
    }

    fn instruction_set(&self) -> &'static str {
        "candle"
    }
}
