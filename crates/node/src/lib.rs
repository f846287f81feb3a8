//! bert-layers for Node-API: conversions, the queue that keeps work off JavaScript's thread, and the panic net.
//! ts/binding.ts is the other side of this crate; it says what each function answers.

#![cfg_attr(test, allow(dead_code))] // napi leaves the registration out of test builds

mod buffer;
mod calls;
mod cancel;
mod devices;
mod embed;
mod encoder;
mod error;
mod file_lock;
mod files;
mod input;
mod overflow;
mod queue;
mod search;
mod tokens;
mod words;
