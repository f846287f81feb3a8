//! A model's folder of which one file is what the fuzzer makes, what reading it may cost, and inputs made whole enough to be read
//! further than their first bytes.

mod limits;
mod model;
pub mod pytorch;
pub mod safetensors;
pub mod tensorflow;

pub use model::{Model, named};
