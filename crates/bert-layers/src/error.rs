//! What can go wrong, one variant for each code that TypeScript sees.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure. [`code`](Error::code) is stable; the message says what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No model of that name; the message lists where it was looked for.
    #[error("{0}")]
    ModelNotFound(String),
    /// The files of the model are damaged, incomplete or contradict each other.
    #[error("{0}")]
    ModelInvalid(String),
    /// The files are sound, but describe something this library does not run.
    #[error("{0}")]
    ModelUnsupported(String),
    /// Texts, ids or options that make no sense for this model.
    #[error("{0}")]
    InvalidInput(String),
    /// A text has more tokens than the model has positions, or than are allowed.
    #[error("text {text} has {tokens} tokens, {limit} is the most {whose}: {advice}")]
    TooManyTokens {
        /// Which input, counted from 0.
        text: usize,
        /// Its tokens, special ones included.
        tokens: usize,
        /// The limit.
        limit: usize,
        /// What sets the limit, as in "512 is the most this model takes".
        whose: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The device that was asked for is not there, or cannot do what was asked.
    #[error("{0}")]
    DeviceUnavailable(String),
    /// A result does not fit in memory. Nothing was computed.
    #[error("{what} needs {bytes} bytes, more than there is memory for: {}", advice(what))]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// The bytes asked for.
        bytes: u64,
    },
    /// The GPU's memory does not hold the weights, or what a batch needs beside them. The encoder may be used again.
    #[error(
        "the GPU has not enough free memory: encode fewer texts at once, use dtype 'float16' or 'bfloat16', or end what else uses it"
    )]
    DeviceOutOfMemory,
    /// The encoder was disposed of.
    #[error("this encoder was disposed: load the model again")]
    Disposed,
    /// The caller's [`Cancel`](crate::Cancel) flag was set.
    #[error("the call was cancelled")]
    Cancelled,
    /// A defect of this library.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl Error {
    /// The stable code: what `BertLayersError.code` is in TypeScript.
    pub fn code(&self) -> &'static str {
        match self {
            Error::ModelNotFound(_) => "ERR_MODEL_NOT_FOUND",
            Error::ModelInvalid(_) => "ERR_MODEL_INVALID",
            Error::ModelUnsupported(_) => "ERR_MODEL_UNSUPPORTED",
            Error::InvalidInput(_) => "ERR_INVALID_INPUT",
            Error::TooManyTokens { .. } => "ERR_TOO_MANY_TOKENS",
            Error::DeviceUnavailable(_) => "ERR_DEVICE_UNAVAILABLE",
            Error::OutOfMemory { .. } | Error::DeviceOutOfMemory => "ERR_OUT_OF_MEMORY",
            Error::Disposed => "ERR_DISPOSED",
            Error::Cancelled => "ERR_CANCELLED",
            Error::Internal(_) => "ERR_INTERNAL",
        }
    }

    /// A file of a model that is not as it should be.
    pub(crate) fn invalid_file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Error::ModelInvalid(format!("{}: {}", path.display(), shortened(reason.to_string())))
    }

    /// A file of a model that is sound, and nothing that this library runs.
    pub(crate) fn unsupported_file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Error::ModelUnsupported(format!("{}: {}", path.display(), shortened(reason.to_string())))
    }
}

/// Runs a job; a panic in it becomes an error.
///
/// # Errors
/// The job's, or [`Error::Internal`].
pub fn catch<T>(job: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Error::Internal(text.unwrap_or("a panic").into()))
    })
}

/// What a message quotes of a file may be the file.
fn shortened(mut reason: String) -> String {
    const MOST: usize = 1000;
    if reason.len() > MOST {
        let end = (0..=MOST).rev().find(|&end| reason.is_char_boundary(end));
        reason.truncate(end.unwrap_or(0));
        reason.push('…');
    }
    reason
}

/// What to do when there is no memory for it.
fn advice(what: &str) -> &'static str {
    match what {
        "the index" => "use precision int8 or binary without rescoring, or fewer vectors",
        "the result with its attentions" => "leave attentions out, ask for fewer layers or encode fewer texts at once",
        "the search" => "search fewer queries at once, or with a smaller k",
        _ => "ask for fewer layers or encode fewer texts at once",
    }
}

impl From<bert_layers_kernels::AllocError> for Error {
    fn from(e: bert_layers_kernels::AllocError) -> Self {
        Error::OutOfMemory { what: "a buffer", bytes: e.bytes as u64 }
    }
}

impl From<candle_core::Error> for Error {
    fn from(e: candle_core::Error) -> Self {
        // What candle wraps is CUDA's own error, or that of cuBLAS, whose types are there only where CUDA is built in.
        let said = e.to_string();
        match ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"].iter().any(|name| said.contains(name)) {
            true => Error::DeviceOutOfMemory,
            false => Error::Internal(format!("candle: {said}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_candle_says_of_memory_is_typed() {
        // As cudarc's errors show themselves, alone and with what candle puts around them.
        let full = || candle_core::Error::Cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
        let blas = candle_core::Error::Cuda("CublasError(CUBLAS_STATUS_ALLOC_FAILED)".into());
        for error in [full(), full().bt(), full().context("a batch"), blas] {
            assert_eq!(Error::from(error), Error::DeviceOutOfMemory);
        }
        let other = candle_core::Error::Cuda("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"…\")".into());
        assert!(matches!(Error::from(other), Error::Internal(_)));
        assert_eq!(Error::DeviceOutOfMemory.code(), "ERR_OUT_OF_MEMORY");
    }
}
