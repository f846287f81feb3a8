//! Failures as values: an error thrown inside an N-API task would lose its code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bert_layers::{Error, Result};
use napi_derive::napi;

/// A failure: a stable code and a sentence that says what to do.
#[napi(object, object_from_js = false)]
pub struct NativeError {
    pub code: String,
    pub message: String,
}

impl From<Error> for NativeError {
    fn from(error: Error) -> Self {
        Self { code: error.code().into(), message: error.to_string() }
    }
}

/// Runs a job; a panic in it becomes an error, so that it never reaches Node, where it would end the process.
pub fn catch<T>(job: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Error::Internal(text.unwrap_or("a panic").into()))
    })
}

/// An answer to JavaScript: either `value` or `error`.
macro_rules! outcome {
    ($(#[$doc:meta])* $name:ident, $value:ty) => {
        $(#[$doc])*
        #[napi(object, object_from_js = false)]
        pub struct $name {
            pub value: Option<$value>,
            pub error: Option<NativeError>,
        }

        impl From<bert_layers::Result<$value>> for $name {
            fn from(result: bert_layers::Result<$value>) -> Self {
                match result {
                    Ok(value) => Self { value: Some(value), error: None },
                    Err(error) => Self { value: None, error: Some(error.into()) },
                }
            }
        }
    };
}
pub(crate) use outcome;
