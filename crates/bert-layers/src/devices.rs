//! What this build could run on, and what of it is there.

use bert_layers_kernels::Kernels;

use crate::device::Device;
use crate::{DeviceChoice, Dtype, Error, Result};

/// The kinds of devices that this build can open, as users name them. Whether they are there is what [`open_device`] says.
pub fn device_kinds() -> Vec<&'static str> {
    let gpus = [("cuda", cfg!(feature = "cuda")), ("metal", cfg!(feature = "metal"))];
    ["cpu"].into_iter().chain(gpus.into_iter().filter(|&(_, built)| built).map(|(name, _)| name)).collect()
}

/// Opens a device as loading a model would, closes it again, and gives its name, such as `cuda:0`.
///
/// # Errors
/// [`Error::DeviceUnavailable`] where it is not there or not in this build.
pub fn open_device(choice: DeviceChoice) -> Result<String> {
    Ok(Device::open(choice, Dtype::Float32)?.name())
}

/// The instruction set that the kernels for the CPU use, such as `avx512`.
///
/// # Errors
/// [`Error::DeviceUnavailable`] where `BERT_LAYERS_ISA` asks for one that this machine lacks.
pub fn instruction_set() -> Result<&'static str> {
    Ok(Kernels::chosen().map_err(|e| Error::DeviceUnavailable(e.to_string()))?.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_built_in_opens_or_says_that_it_cannot_be() {
        let kinds = device_kinds();
        assert_eq!(open_device(DeviceChoice::Cpu).ok().as_deref(), Some("cpu"));
        for (kind, choice) in [("cuda", DeviceChoice::Cuda(0)), ("metal", DeviceChoice::Metal)] {
            match (open_device(choice), kinds.contains(&kind)) {
                (Ok(name), built) => assert!(built && name.starts_with(kind), "{name}"),
                (Err(error), built) => {
                    assert_eq!(error.code(), "ERR_DEVICE_UNAVAILABLE");
                    let says = if built { "cannot be opened" } else { "not in this build" };
                    assert!(error.to_string().contains(says), "{error}");
                }
            }
        }
    }
}
