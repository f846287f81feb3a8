//! A device with our kernels.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::sys::{
    CUfunction_attribute_enum, CUmemPool_attribute, CUmemoryPool, CUresult,
};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, result, sys,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Result, Shape, Storage, Tensor};

use crate::attention;
use crate::reading::Staging;

/// The kernels: machine code for 8.0 and 9.0, PTX for later capabilities.
static KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// One model's own device: a stream, cuBLAS on it, and our kernels. Clones share it.
#[derive(Clone)]
pub struct Gpu {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    device: CudaDevice,
    pub stream: Arc<CudaStream>,
    /// Copies to the host.
    pub copies: Arc<CudaStream>,
    functions: HashMap<String, CudaFunction>,
    pub staging: Staging,
    pool: CUmemoryPool,
}

// SAFETY: the pool's handle is a number to us; the driver's functions may be called with it from any thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    /// Gives the memory that the model's tensors have left back to other programs.
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        // SAFETY: the pool is the device's own, which lives as long as the process.
        let _ = unsafe { sys::cuMemPoolTrimTo(self.pool, 0) };
    }
}

impl Gpu {
    /// Opens GPU `number`, with a stream of its own.
    ///
    /// # Errors
    /// Where there is no driver, no such GPU, or it is older than compute capability 8.0.
    pub fn open(number: usize) -> Result<Self> {
        let device = CudaDevice::new_with_stream(number)?;
        let stream = device.cuda_stream();
        let context = stream.context().clone();
        // SAFETY: everything happens on one stream, but copies to the host, which wait for it and keep their tensor until they are
        // done (`Reading`). So no event a tensor is needed to order them.
        unsafe { device.disable_event_tracking() };
        let (major, minor) = context.compute_capability().w()?;
        if major < 8 {
            candle_core::bail!("its compute capability is {major}.{minor}, and 8.0 is the least");
        }
        let module = context.load_module(Ptx::from_binary(KERNELS.to_vec())).w()?;
        let mut functions = HashMap::new();
        let attention = attention::kernels().into_iter().map(|(name, _, shared)| (name, shared));
        for (name, shared) in attention.chain(crate::rows::kernels().into_iter().map(|name| (name, 0))) {
            let function = module.load_function(&name).w()?;
            if shared > 48 << 10 {
                let most = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                function.set_attribute(most, shared as i32).w()?;
            }
            functions.insert(name, function);
        }
        let copies = context.new_stream().w()?;
        let pool = keep_freed_memory(context.cu_device()).w()?;
        let shared = Shared { device, stream, copies, functions, staging: Staging::default(), pool };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// As candle knows it.
    pub fn device(&self) -> Device {
        Device::Cuda(self.shared.device.clone())
    }

    /// Waits for all that was begun.
    ///
    /// # Errors
    /// What went wrong on the device since the last time.
    pub fn synchronize(&self) -> Result<()> {
        self.shared.stream.synchronize().w()
    }

    /// A tensor of any contents.
    pub(crate) fn empty(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        // SAFETY: who asks for it has a kernel write every number.
        unsafe { Tensor::empty(shape, dtype, &self.device()) }
    }

    /// Where a contiguous tensor of this device lies.
    pub(crate) fn address(&self, tensor: &Tensor) -> Result<u64> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { candle_core::bail!("a tensor is not on the GPU") };
        if !layout.is_contiguous() {
            candle_core::bail!("a tensor is not contiguous");
        }
        let at = |storage: &CudaStorage| -> Result<u64> {
            let stream = &self.shared.stream;
            Ok(match tensor.dtype() {
                DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(stream).0,
                DType::F16 => storage.as_cuda_slice::<half::f16>()?.device_ptr(stream).0,
                DType::BF16 => storage.as_cuda_slice::<half::bf16>()?.device_ptr(stream).0,
                DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(stream).0,
                DType::U8 => storage.as_cuda_slice::<u8>()?.device_ptr(stream).0,
                other => candle_core::bail!("no kernel takes {other:?}"),
            })
        };
        Ok(at(storage)? + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64)
    }

    /// The address, or null.
    pub(crate) fn address_of(&self, tensor: Option<&Tensor>) -> Result<u64> {
        tensor.map_or(Ok(0), |tensor| self.address(tensor))
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// `parameters` are the kernel's, laid out as there; what they point to is contiguous, on this device, as large as the kernel
    /// takes it to be, and given back only in the order of the stream.
    pub(crate) unsafe fn launch<P: DeviceRepr>(
        &self,
        kernel: &str,
        (x, y): (usize, usize),
        threads: usize,
        shared: usize,
        parameters: &P,
    ) -> Result<()> {
        let Some(function) = self.shared.functions.get(kernel) else {
            candle_core::bail!("there is no kernel {kernel}")
        };
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            candle_core::bail!("{kernel}: a grid of {x} × {y}")
        };
        if x == 0 || y == 0 {
            return Ok(());
        }
        let config =
            LaunchConfig { grid_dim: (x, y, 1), block_dim: (threads as u32, 1, 1), shared_mem_bytes: shared as u32 };
        let mut launch = self.shared.stream.launch_builder(function);
        launch.arg(parameters);
        // SAFETY: the caller's promise.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }
}

/// What kernels call a type.
pub(crate) fn type_name(dtype: DType) -> Result<&'static str> {
    Ok(match dtype {
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        other => candle_core::bail!("no kernel takes {other:?}"),
    })
}

/// Has the device's pool keep what is freed until the model goes: it gives it back to the system at every wait otherwise.
fn keep_freed_memory(device: i32) -> std::result::Result<CUmemoryPool, result::DriverError> {
    let check = |code: CUresult| match code {
        CUresult::CUDA_SUCCESS => Ok(()),
        other => Err(result::DriverError(other)),
    };
    let mut pool: CUmemoryPool = std::ptr::null_mut();
    let mut all = u64::MAX;
    let threshold = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: both pointers are to variables that live through the call, of the types that it writes and reads.
    unsafe {
        check(sys::cuDeviceGetDefaultMemPool(&mut pool, device))?;
        check(sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut all).cast()))?;
    }
    Ok(pool)
}
