//! The CUDA kernels of bert-layers on candle's tensors: attention over packed texts, what happens between two matrix products, and
//! copies to the host that the device does while it computes on. Matrix products are candle's, which are cuBLAS's.
//!
//! All work of a [`Gpu`] is done in order, on one stream; only copies to the host have another, which waits for the first where it
//! must. So memory that is given back is used again only by what comes later.
//!
//! Without the feature `cuda` there is nothing here; the kernels' sources are tested on the host all the same.
#![cfg(feature = "cuda")]

mod attention;
mod gpu;
mod reading;
mod rows;

pub use attention::{Extras, Texts};
pub use gpu::Gpu;
pub use reading::Reading;
pub use rows::{Activation, Norm, Terms};
