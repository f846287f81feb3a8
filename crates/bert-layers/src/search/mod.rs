//! Exact nearest neighbours in a matrix of vectors.

mod index;
mod query;

pub use index::VectorIndex;

use std::str::FromStr;

use bert_layers_kernels::exact_dot;

use crate::memory::{self, Promise};
use crate::{Cancel, Error, Result};

/// How near two vectors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// a·b / (‖a‖ ‖b‖), the highest first; 0 if either vector is zero.
    #[default]
    Cosine,
    /// a·b, the highest first.
    Dot,
    /// ‖a − b‖, the lowest first.
    Euclidean,
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "cosine" => Ok(Metric::Cosine),
            "dot" => Ok(Metric::Dot),
            "euclidean" => Ok(Metric::Euclidean),
            _ => Err(Error::InvalidInput(format!("metric must be 'cosine', 'dot' or 'euclidean', not '{name}'"))),
        }
    }
}

/// How the vectors are stored that a search goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexPrecision {
    /// 4 bytes a place.
    #[default]
    Float32,
    /// 1 byte a place, rounded up to 64: each vector in 255 levels, evenly from minus to plus its largest number.
    Int8,
    /// 1 bit a place, rounded up to 64: whether it is above 0.
    Binary,
}

impl FromStr for IndexPrecision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(IndexPrecision::Float32),
            "int8" => Ok(IndexPrecision::Int8),
            "binary" => Ok(IndexPrecision::Binary),
            _ => Err(Error::InvalidInput(format!("precision must be 'float32', 'int8' or 'binary', not '{name}'"))),
        }
    }
}

/// How to make a [`VectorIndex`].
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// What is near.
    pub metric: Metric,
    /// What a search goes through.
    pub precision: IndexPrecision,
    /// Whether an index in int8 or binary keeps the vectors in f32 too, to score its candidates with them.
    pub rescore: bool,
    /// How many threads search; by default as many as the process may use.
    pub threads: Option<usize>,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { metric: Metric::Cosine, precision: IndexPrecision::Float32, rescore: true, threads: None }
    }
}

/// How to search.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// How many candidates are scored again for each one wanted, at least 1: for int8 and binary with rescoring.
    pub oversample: f64,
    /// Ends the call early.
    pub cancel: Cancel,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { oversample: 4.0, cancel: Cancel::new() }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// How many for each query: as many as were asked for, or as the index has.
    pub k: usize,
    /// Which vectors, `[query][k]`, the nearest first; of equal scores the lower index.
    pub indices: Vec<u32>,
    /// Their scores, `[query][k]`: what the [`Metric`] says.
    pub scores: Vec<f32>,
}

/// Beyond it, the square of a vector's length, sums may overflow in f32: the squared distance of two such vectors may be four times as
/// large, and rounding needs room.
const LARGEST_SQUARE: f64 = (f32::MAX / 8.0) as f64;

/// A length below it has no reciprocal in f32: such a vector counts as zero where it is divided by.
const SHORTEST: f64 = f32::MIN_POSITIVE as f64;

/// The length of a vector; an error if it holds what cannot be searched. `what` is the matrix, `index` the vector in it.
fn length(vector: &[f32], what: &str, index: usize) -> Result<f64> {
    let square = exact_dot(vector, vector);
    if square <= LARGEST_SQUARE {
        return Ok(square.sqrt());
    }
    let found = vector.iter().enumerate().find(|(_, x)| !x.is_finite());
    Err(Error::InvalidInput(match found {
        Some((place, x)) => {
            let x = if x.is_nan() {
                "NaN"
            } else if *x > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            format!("{what} {index} has {x} at position {place}: a search takes finite numbers only")
        }
        None => format!("{what} {index} has numbers too large: the square of its length must be a float32"),
    }))
}

/// 1 / length, or 0 for a vector that counts as zero.
fn reciprocal(length: f64) -> f64 {
    if length < SHORTEST { 0.0 } else { 1.0 / length }
}

/// How many vectors a matrix has.
fn count(matrix: &[f32], dim: usize, what: &str) -> Result<usize> {
    if dim == 0 || matrix.is_empty() {
        return Err(Error::InvalidInput(format!("there are no {what}: give at least one, of at least one number")));
    }
    if !matrix.len().is_multiple_of(dim) {
        let len = matrix.len();
        return Err(Error::InvalidInput(format!("{len} numbers are no whole number of {what} of dimension {dim}")));
    }
    Ok(matrix.len() / dim)
}

/// Room for so many numbers, promised by the system.
fn promise(what: &'static str, bytes: usize) -> Result<Promise> {
    memory::promise(bytes as u64).map_err(|_| no_room(what, bytes))
}

fn no_room(what: &'static str, bytes: usize) -> Error {
    Error::OutOfMemory { what, bytes: bytes as u64 }
}

fn zeros<T: Copy + Default>(what: &'static str, len: usize) -> Result<Vec<T>> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| no_room(what, len.saturating_mul(size_of::<T>())))?;
    zeros.resize(len, T::default());
    Ok(zeros)
}
