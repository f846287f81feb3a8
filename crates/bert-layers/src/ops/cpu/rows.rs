//! Activations on the CPU, and the memory that they live in.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bert_layers_kernels::{Bf16, LINE, PackedInt8, QuantizedRows, stride_of, to_line, try_zeroed};

use crate::Result;

/// Activations [count, width]: as f32, converted for the matrix that reads them, or both.
pub struct Rows<'r> {
    count: usize,
    width: usize,
    /// From the start of a row in f32 to that of the next.
    stride: usize,
    f32: F32<'r>,
    low: Low,
}

enum F32<'r> {
    /// Only the converted rows exist.
    None,
    /// Rows that the user gets: in the result itself.
    Kept(&'r mut [f32]),
    /// Rows that only later operations read.
    Scratch(ScratchRows<f32>),
}

/// Rows in the precision of the matrix that reads them.
pub enum Low {
    /// It reads f32.
    None,
    /// bf16, as many numbers.
    Bf16(ScratchRows<Bf16>),
    /// int8, quantized for one matrix.
    Int8(ScratchInt8),
}

impl<'r> Rows<'r> {
    /// Rows that exist in a lower precision only.
    pub fn low_only(count: usize, width: usize, low: Low) -> Self {
        Self { count, width, stride: width, f32: F32::None, low }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// From the start of a row in f32 to that of the next: more than `width` only where a linear layer is the only reader.
    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn low(&self) -> &Low {
        &self.low
    }

    pub fn set_low(&mut self, low: Low) {
        self.low = low;
    }

    /// The rows in f32; none where only the converted ones exist.
    pub fn f32(&self) -> &[f32] {
        match &self.f32 {
            F32::None => &[],
            F32::Kept(rows) => rows,
            F32::Scratch(rows) => rows,
        }
    }

    pub fn f32_mut(&mut self) -> &mut [f32] {
        match &mut self.f32 {
            F32::None => &mut [],
            F32::Kept(rows) => rows,
            F32::Scratch(rows) => rows,
        }
    }
}

/// Buffers of earlier operations, kept because fresh memory costs a page fault every 4 KB.
#[derive(Default)]
pub struct Scratch {
    f32: Free<Vec<f32>>,
    bf16: Free<Vec<Bf16>>,
    int8: Free<QuantizedRows>,
}

type Free<T> = Mutex<Vec<T>>;

impl Scratch {
    /// Rows in f32: the user's own where they are kept.
    pub fn rows<'r>(self: &Arc<Self>, count: usize, width: usize, keep: Option<&'r mut [f32]>) -> Result<Rows<'r>> {
        let f32 = match keep {
            Some(rows) => F32::Kept(rows),
            None => F32::Scratch(ScratchRows::take(self, count * width, |len| Ok(try_zeroed(len)?))?),
        };
        Ok(Rows { count, width, stride: width, f32, low: Low::None })
    }

    /// Rows in f32 that only a linear layer reads, as far apart as is good for that.
    pub fn inputs(self: &Arc<Self>, count: usize, width: usize) -> Result<Rows<'static>> {
        let stride = stride_of(width);
        Ok(Rows { width, ..self.rows(count, stride, None)? })
    }

    pub fn bf16(self: &Arc<Self>, len: usize) -> Result<ScratchRows<Bf16>> {
        ScratchRows::take(self, len, |len| Ok(vec![Bf16::default(); len]))
    }

    /// Rows of inputs for `matrix`.
    pub fn int8(self: &Arc<Self>, matrix: &PackedInt8, count: usize) -> Result<ScratchInt8> {
        let free = self.int8.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut rows = free.unwrap_or_default();
        rows.prepare(matrix, count)?;
        Ok(ScratchInt8 { rows, home: self.clone() })
    }
}

/// A number that buffers are kept of.
pub trait Number: Sized {
    fn free(scratch: &Scratch) -> &Mutex<Vec<Vec<Self>>>;
}

impl Number for f32 {
    fn free(scratch: &Scratch) -> &Free<Vec<f32>> {
        &scratch.f32
    }
}

impl Number for Bf16 {
    fn free(scratch: &Scratch) -> &Free<Vec<Bf16>> {
        &scratch.bf16
    }
}

/// `len` numbers of a buffer, from a cache line on; it goes back to the scratch memory when it is dropped.
pub struct ScratchRows<T: Number> {
    buffer: Vec<T>,
    start: usize,
    len: usize,
    home: Arc<Scratch>,
}

impl<T: Number> ScratchRows<T> {
    fn take(home: &Arc<Scratch>, len: usize, new: impl FnOnce(usize) -> Result<Vec<T>>) -> Result<Self> {
        let mut free = T::free(home).lock().unwrap_or_else(PoisonError::into_inner);
        let room = len + LINE * size_of::<f32>() / size_of::<T>();
        let fits = (0..free.len()).filter(|&i| free[i].len() >= room).min_by_key(|&i| free[i].len());
        let buffer = match fits {
            Some(i) => free.swap_remove(i),
            None => {
                free.pop(); // the new buffer takes its place: there are never more than were in use at once
                drop(free);
                new(room)?
            }
        };
        Ok(Self { start: to_line(&buffer), buffer, len, home: home.clone() })
    }
}

impl<T: Number> Deref for ScratchRows<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl<T: Number> DerefMut for ScratchRows<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl<T: Number> Drop for ScratchRows<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        T::free(&self.home).lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Something that is there already, or was made for the moment.
pub enum Lent<'a, T> {
    Borrowed(&'a T),
    Own(T),
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Lent::Borrowed(it) => it,
            Lent::Own(it) => it,
        }
    }
}

/// Quantized rows, which go back to the scratch memory when they are dropped.
pub struct ScratchInt8 {
    rows: QuantizedRows,
    home: Arc<Scratch>,
}

impl Deref for ScratchInt8 {
    type Target = QuantizedRows;

    fn deref(&self) -> &QuantizedRows {
        &self.rows
    }
}

impl DerefMut for ScratchInt8 {
    fn deref_mut(&mut self) -> &mut QuantizedRows {
        &mut self.rows
    }
}

impl Drop for ScratchInt8 {
    fn drop(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.home.int8.lock().unwrap_or_else(PoisonError::into_inner).push(rows);
    }
}
