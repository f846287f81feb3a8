//! Failures as values: an error thrown inside an N-API task would lose its code.

use bert_layers::Error;
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
