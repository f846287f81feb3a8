//! The flag that an AbortSignal sets.

use bert_layers::Cancel;
use napi_derive::napi;

/// Stops the calls that were given it.
///
/// JavaScript holds it for as long as a call runs. So when it goes, nobody waits any more: a worker thread that is
/// terminated drops its flags, and the work it had asked for ends.
#[napi]
#[derive(Default)]
pub struct CancelFlag {
    pub(crate) inner: Cancel,
}

#[napi]
impl CancelFlag {
    /// A flag that is not set.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it.
    #[napi]
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

impl Drop for CancelFlag {
    fn drop(&mut self) {
        self.inner.cancel();
    }
}
