//! The numeric kernels of bert-layers: slices in, slices out. They know no model, no tensor library and no file.
//!
//! An encoder spends nearly all of its time in matrix products, the rest in attention, norms and activations. This crate
//! has those few operations, in f32, bf16 and int8, for each instruction set that is worth it:
//!
//! ```
//! use bert_layers_kernels::{Activation, Epilogue, Kernels, PackedMatrix, Solo};
//!
//! let kernels = Kernels::chosen()?;                              // the best that this processor has
//! let weight = [1.0, 2.0, 3.0, /* */ 4.0, 5.0, 6.0];             // [out = 2, in = 3], as in the checkpoint
//! let w = PackedMatrix::pack(kernels, &weight, 2, 3)?;           // once, at load
//! let mut out = [0.0; 2];
//! let epilogue = Epilogue { bias: Some(&[0.5, -50.0]), activation: Activation::Relu, residual: None, ..Epilogue::default() };
//! kernels.linear(&Solo, &[1.0, 1.0, 1.0], &w, epilogue, &mut out);
//! assert_eq!(out, [6.5, 0.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a matrix product gets fast
//!
//! A processor multiplies and adds far faster than it fetches numbers, so each number that it fetches has to be used many
//! times. The **micro-kernel** (`gemm::tile`) keeps a small **tile** of the result, with AVX-512 12 rows × 32 columns, in
//! registers. Each step of k then takes 32 weights and 12 inputs and does 384 multiply-adds with them.
//!
//! The 32 weights of a step should lie side by side, and those of the next step behind them. So weights are **packed** at
//! load ([`PackedMatrix`]) into **panels**: strips of 32 output columns, stored k by k. What the last panel lacks is zeros,
//! which is why no size has to be a multiple of anything.
//!
//! Around that, `gemm` orders the work such that rows and panels are found in a cache, and prefetches the next panel.
//! Bias, activation and residual ([`Epilogue`]) are applied while a tile is still in the nearest cache.
//! Attention packs keys and values the same way and uses the same micro-kernel.
//!
//! # Less precise, and faster
//!
//! The tile does not care what a word of 32 bits holds: one f32, two bf16 ([`PackedBf16`]) or four int8 ([`PackedInt8`]). A step
//! multiplies whole words and adds up their products, with an instruction that does just that where there is one, so it
//! covers one, two or four k in about the same time. How that differs is in `gemm::product`.
//!
//! Some processors have registers for whole tiles of bf16 and int8 (AMX). They take the same panels, sixteen words of k at a time; what
//! remains of k is left to vectors, which continue the sums (`simd::Matrix`, `simd::avx512::tiles`).
//!
//! Sums are always f32, or in int8 exact whole numbers. What a layer keeps between its steps, the hidden state, stays f32;
//! rows are rounded or quantized ([`Converted`]) as they leave a norm, attention or the first feed-forward layer. In int8 each
//! row has a scale and a zero point, and the few input channels with very large values, which would drown the others in it, stay f32.
//!
//! # The invariant
//!
//! **Each element of a result is one fixed expression of its own inputs**: sums run over ascending k in a single chain, are
//! never split, and odd sizes are padded, not treated differently. So a row has the same bits whatever other rows are in
//! the call, on however many threads it runs, however the work is cut. Everything here is free to change except that.
//! Two instruction sets do differ in the last bits, except in the whole numbers of int8.
//!
//! # Where to read on
//!
//! 1. `simd`: a vector of floats and its operations; `simd::portable` is their meaning in plain Rust.
//! 2. `gemm::tile`, then `gemm`: the matrix product; `gemm::product`, `bf16`, `quantized`, `convert`: the precisions.
//! 3. `attention`, `norm`, `activation`, `embed`; `math` for exp, tanh and erf; `search` for the vectors nearest to a query.
//! 4. `isa` chooses the instruction set; `team` is how the caller lends its threads ([`Team`]).
//!
//! The tests compare everything with the same operations written plainly in f64 (`tests/common`).

mod activation;
mod attention;
mod bf16;
mod convert;
mod crew;
mod embed;
mod gemm;
mod isa;
mod math;
mod memory;
mod norm;
mod output;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod pages;
mod quantized;
mod search;
mod simd;
mod sleeper;
mod team;

pub use activation::Activation;
pub use attention::{Disentangled, DistanceBias, Heads, Rotary, Scoring};
pub use bf16::Bf16;
pub use convert::Converted;
pub use crew::Crew;
pub use embed::{Lookup, Table};
pub use gemm::{Epilogue, PackedBf16, PackedInt8, PackedMatrix, Upcoming};
pub use isa::{INSTRUCTION_SET_VARIABLE, Kernels, UnknownInstructionSet};
pub use memory::{
    AllocError, LINE, SPARES, Strided, release_freed, spare, stride_of, to_line, try_zeroed, wish_for_large_pages,
};
pub use output::Output;
pub use quantized::{Int8Rows, QuantizedRows};
pub use search::{
    Best, Candidate, Ranking, SearchPrecision, SearchQueries, SearchVectors, exact_dot, exact_squared_distance,
};
pub use team::{Solo, Team};
