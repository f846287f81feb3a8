//! Where a model runs, and in which precision.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A device as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// The first GPU if this build and this machine have one that knows the precision, else the CPU.
    #[default]
    Auto,
    /// The CPU, with our own kernels.
    Cpu,
    /// A CUDA GPU, by its number.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
    /// The CPU with candle's tensors: slow, and the reference that the fast kernels are tested against.
    CandleCpu,
}

/// The precision of weights and activations. Results are f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dtype {
    /// 32-bit floating point.
    #[default]
    Float32,
    /// 16-bit floating point, on GPUs.
    Float16,
    /// 16-bit floating point with the range of 32.
    Bfloat16,
    /// 8-bit integers with a scale for each token and each output, and the largest input channels kept in f32; on CPUs.
    Int8,
}

impl Dtype {
    /// Bytes of a weight.
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::Bfloat16 => 2,
            Self::Int8 => 1,
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => match name.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Cuda(number)),
                _ => Err(Error::InvalidInput(format!(
                    "device '{name}' is not known: it is 'auto', 'cpu', 'cuda', 'cuda:N' or 'metal'"
                ))),
            },
        }
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "float32" | "fp32" => Ok(Self::Float32),
            "float16" | "fp16" => Ok(Self::Float16),
            "bfloat16" | "bf16" => Ok(Self::Bfloat16),
            "int8" | "q8" => Ok(Self::Int8),
            _ => Err(Error::InvalidInput(format!(
                "dtype '{name}' is not known: it is 'float32', 'float16', 'bfloat16' or 'int8'"
            ))),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Int8 => "int8",
        })
    }
}

/// A device that is there.
pub(crate) enum Device {
    Cpu,
    Candle(candle_core::Device),
    #[cfg(feature = "cuda")]
    Gpu(usize, bert_layers_cuda::Gpu),
}

impl Device {
    /// Opens the device that was chosen.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`]: a choice that was made explicitly is never replaced by another.
    pub fn open(choice: DeviceChoice, dtype: Dtype) -> Result<Self> {
        Self::open_with(choice, dtype, Self::open_gpu)
    }

    /// `gpu` opens the one that 'auto' means, if there is one.
    fn open_with(choice: DeviceChoice, dtype: Dtype, gpu: impl FnOnce() -> Option<Self>) -> Result<Self> {
        let device = match choice {
            // Nobody asked for a GPU, and none knows it.
            DeviceChoice::Auto if dtype == Dtype::Int8 => Device::Cpu,
            DeviceChoice::Auto => gpu().unwrap_or(Device::Cpu),
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::CandleCpu => Device::Candle(candle_core::Device::Cpu),
            DeviceChoice::Cuda(number) => Self::open_cuda(number)?,
            DeviceChoice::Metal => Device::Candle(
                candle_core::Device::new_metal(0).map_err(|e| unavailable("metal", cfg!(feature = "metal"), &e))?,
            ),
        };
        match (&device, dtype) {
            (Device::Cpu, Dtype::Float16) => Err(Error::DeviceUnavailable(
                "dtype 'float16' is for GPUs, no processor is faster in it: use 'float32', 'bfloat16' or 'int8'".into(),
            )),
            (Device::Cpu, _) => Ok(device),
            (_, Dtype::Int8) => Err(Error::DeviceUnavailable(
                "dtype 'int8' is for the CPU: use 'float32', 'float16' or 'bfloat16', or device 'cpu'".into(),
            )),
            _ => Ok(device),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(number: usize) -> Result<Self> {
        let gpu = bert_layers_cuda::Gpu::open(number).map_err(|e| unavailable(&format!("cuda:{number}"), true, &e))?;
        Ok(Device::Gpu(number, gpu))
    }

    #[cfg(not(feature = "cuda"))]
    fn open_cuda(_: usize) -> Result<Self> {
        Err(unavailable("cuda", false, &candle_core::Error::NotCompiledWithCudaSupport))
    }

    fn open_gpu() -> Option<Self> {
        if let Ok(device) = Self::open_cuda(0) {
            return Some(device);
        }
        if cfg!(feature = "metal")
            && let Ok(device) = candle_core::Device::new_metal(0)
        {
            return Some(Device::Candle(device));
        }
        None
    }

    /// What the user called it, or would have.
    pub fn name(&self) -> String {
        use candle_core::DeviceLocation::{Cpu, Cuda, Metal};
        match self {
            Device::Cpu => "cpu".into(),
            #[cfg(feature = "cuda")]
            Device::Gpu(number, _) => format!("cuda:{number}"),
            Device::Candle(device) => match device.location() {
                Cpu => "cpu (candle)".into(),
                Cuda { gpu_id } => format!("cuda:{gpu_id}"),
                Metal { .. } => "metal".into(),
            },
        }
    }
}

fn unavailable(name: &str, built: bool, error: &candle_core::Error) -> Error {
    Error::DeviceUnavailable(if built {
        // Where RUST_BACKTRACE is set, a backtrace follows, which is no part of a sentence.
        let error = error.to_string();
        format!("device '{name}' cannot be opened: {}", error.lines().next().unwrap_or_default())
    } else {
        format!("device '{name}' is not in this build of bert-layers: use 'cpu', or a build with the '{name}' feature")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_gpu_unless_the_precision_is_for_the_cpu() {
        let gpu = || Some(Device::Candle(candle_core::Device::Cpu));
        let open = |choice, dtype, gpu: fn() -> Option<Device>| {
            Device::open_with(choice, dtype, gpu).map(|device| device.name()).map_err(|error| error.code())
        };
        for dtype in [Dtype::Float32, Dtype::Float16, Dtype::Bfloat16] {
            assert_eq!(open(DeviceChoice::Auto, dtype, gpu), Ok("cpu (candle)".into()));
        }
        assert_eq!(open(DeviceChoice::Auto, Dtype::Int8, gpu), Ok("cpu".into()));
        for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Int8] {
            assert_eq!(open(DeviceChoice::Auto, dtype, || None), Ok("cpu".into()));
        }
        // A device that was named is never replaced, nor is a precision.
        for (choice, dtype) in [(DeviceChoice::CandleCpu, Dtype::Int8), (DeviceChoice::Auto, Dtype::Float16)] {
            assert_eq!(open(choice, dtype, || None), Err("ERR_DEVICE_UNAVAILABLE"));
        }
    }

    #[test]
    fn why_a_device_does_not_open_is_one_line() {
        let inner = Box::new(candle_core::Error::Cuda("DriverError(CUDA_ERROR_NO_DEVICE)".into()));
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let error = candle_core::Error::WithBacktrace { inner, backtrace };
        assert!(error.to_string().lines().count() > 1);
        assert_eq!(
            unavailable("cuda:1", true, &error).to_string(),
            "device 'cuda:1' cannot be opened: DriverError(CUDA_ERROR_NO_DEVICE)"
        );
    }
}
