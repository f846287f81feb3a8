//! What this binary is and what it can run on, without a model.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bert_layers::{catch, device_kinds, instruction_set, open_device};
use napi_derive::napi;

use crate::error::{NativeError, outcome};

/// What this binary is; see ts/binding.ts.
#[napi(object, object_from_js = false)]
pub struct NativeAbout {
    pub version: String,
    pub devices: Vec<String>,
    pub instruction_set: String,
}

outcome!(
    /// What this binary is, or why it cannot compute here.
    AboutOutcome,
    NativeAbout
);
outcome!(
    /// A device's name, or why there is none.
    DeviceOutcome,
    String
);

/// The version, the kinds of devices that were built in, the instruction set. Opens nothing.
#[napi]
pub fn about() -> AboutOutcome {
    let about = || {
        Ok(NativeAbout {
            version: env!("CARGO_PKG_VERSION").into(),
            devices: device_kinds().into_iter().map(str::to_owned).collect(),
            instruction_set: instruction_set()?.into(),
        })
    };
    catch(about).into()
}

/// Opens a device as loading a model would, and gives its name. May take a second, on the thread that calls.
#[napi]
pub fn probe_device(device: String) -> DeviceOutcome {
    catch(|| open_device(device.parse()?)).into()
}

/// What was found out about this process. Worker threads have module caches of their own; they share this.
static NOTES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

fn notes() -> MutexGuard<'static, BTreeMap<String, String>> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What any thread of this process noted under this name.
#[napi]
pub fn recall(name: String) -> Option<String> {
    notes().get(&name).cloned()
}

/// Notes something for all threads of this process.
#[napi]
pub fn remember(name: String, value: String) {
    notes().insert(name, value);
}
