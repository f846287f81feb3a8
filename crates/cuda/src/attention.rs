//! Attention over packed texts.

use std::ops::Range;

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor};

use crate::gpu::{Gpu, type_name};

/// Queries of one text that a block of threads takes: `QUERIES` in attention.cuh.
const QUERIES: usize = 64;
/// The head sizes that there are kernels for; others take the next larger one.
const SIZES: [usize; 3] = [32, 64, 128];

/// `Attention` in attention.cuh.
#[repr(C)]
struct Parameters {
    qkv: u64,
    out: u64,
    tiles: u64,
    mask: u64,
    added: u64,
    distances: u64,
    cosines: u64,
    sines: u64,
    hidden: i32,
    head_size: i32,
    reach: i32,
    window: i32,
    pairs: i32,
    scale: f32,
}

// SAFETY: numbers only, in C's layout.
unsafe impl DeviceRepr for Parameters {}

/// Threads and bytes of shared memory of a kernel, as `THREADS` and `SHARED` there.
fn needs(dtype: DType, size: usize) -> (usize, usize) {
    match dtype {
        DType::F32 => {
            let keys = if size == 128 { 32 } else { 64 };
            let keys_or_weights = (size * (keys + 4)).max(keys * (QUERIES + 4));
            (256, (size * (QUERIES + 4) + keys_or_weights + keys * (size + 4)) * size_of::<f32>())
        }
        _ => (128, 2 * 64 * (size + 8) * 2),
    }
}

/// All kernels: name, threads, shared memory.
pub(crate) fn kernels() -> Vec<(String, usize, usize)> {
    let types = [(DType::F32, "f32"), (DType::F16, "f16"), (DType::BF16, "bf16")];
    let of_type = |(dtype, name)| {
        SIZES.map(|size| {
            let (threads, shared) = needs(dtype, size);
            (format!("attention_{name}_{size}"), threads, shared)
        })
    };
    types.into_iter().flat_map(of_type).collect()
}

/// Where the texts of a packed batch are, on the device.
pub struct Texts {
    tiles: Tensor,
    count: usize,
    mask: Option<Tensor>,
    rows: usize,
}

/// What changes the scores beside q and k. The default: nothing.
#[derive(Default)]
pub struct Extras<'a> {
    /// `[heads, 2 · reach + 1]` in f32, added by the distance key − query.
    pub distances: Option<&'a Tensor>,
    /// Cosines and sines `[positions, pairs]` in f32 of the angles by which q and k are turned.
    pub angles: Option<(&'a Tensor, &'a Tensor)>,
    /// How many rows before it and after it a row attends to.
    pub window: Option<usize>,
}

impl Gpu {
    /// Texts end to end from row 0 on; `mask` says which rows may be attended to.
    ///
    /// # Errors
    /// Where the device has no memory, and for ranges that are not end to end.
    pub fn texts(&self, texts: &[Range<usize>], mask: Option<&[bool]>) -> Result<Texts> {
        let mut rows = 0;
        for text in texts {
            if text.start != rows || text.end < text.start {
                candle_core::bail!("texts are not end to end: {text:?} after row {rows}");
            }
            rows = text.end;
        }
        if i32::try_from(rows).is_err() || mask.is_some_and(|mask| mask.len() != rows) {
            candle_core::bail!("{rows} rows, and a mask of {:?}", mask.map(<[bool]>::len));
        }
        let mut tiles: Vec<(&Range<usize>, usize)> =
            texts.iter().flat_map(|text| (0..text.len()).step_by(QUERIES).map(move |first| (text, first))).collect();
        // The longest first, so that no block is alone in the end.
        tiles.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let numbers = tiles.iter().flat_map(|(text, first)| [text.start as u32, text.len() as u32, *first as u32, 0]);
        let device = self.device();
        let (count, numbers) = (tiles.len(), numbers.collect::<Vec<u32>>());
        let mask = mask.map(|mask| Tensor::from_iter(mask.iter().map(|&seen| u8::from(seen)), &device)).transpose()?;
        Ok(Texts { tiles: Tensor::from_vec(numbers, (count, 4), &device)?, count, mask, rows })
    }

    /// Whether there is a kernel for heads of this size.
    pub fn takes_heads(size: usize) -> bool {
        (1..=SIZES[SIZES.len() - 1]).contains(&size)
    }

    /// `softmax(q·kᵀ / √d + extras) · v` of each text and head, where the columns of `qkv + added` are all of q, then k, then v.
    /// Rows that are masked are computed too; a query that sees no key gets zeros.
    ///
    /// # Errors
    /// Where shapes or types do not fit, or the device fails.
    pub fn attention(
        &self,
        qkv: &Tensor,
        added: Option<&Tensor>,
        texts: &Texts,
        heads: usize,
        extras: &Extras<'_>,
    ) -> Result<Tensor> {
        let (rows, columns) = qkv.dims2()?;
        let (hidden, dtype) = (columns / 3, qkv.dtype());
        let head_size = hidden / heads.max(1);
        let size = SIZES.into_iter().find(|&size| head_size <= size);
        let Some(size) = size.filter(|_| columns == 3 * heads * head_size && rows == texts.rows && head_size > 0)
        else {
            candle_core::bail!("no attention of {heads} heads over [{rows}, {columns}], {} rows of texts", texts.rows);
        };
        if added.is_some_and(|added| added.elem_count() != columns || added.dtype() != dtype) {
            candle_core::bail!("what is added to [{rows}, {columns}] does not fit");
        }
        let (reach, pairs) =
            (columns_of(extras.distances)? / 2, columns_of(extras.angles.map(|(cosines, _)| cosines))?);
        if 2 * pairs > head_size || extras.distances.is_some_and(|table| table.elem_count() != heads * (2 * reach + 1))
        {
            candle_core::bail!("distances or angles do not fit heads of {head_size}");
        }
        let out = self.empty((rows, hidden), dtype)?;
        let parameters = Parameters {
            qkv: self.address(qkv)?,
            out: self.address(&out)?,
            tiles: self.address(&texts.tiles)?,
            mask: self.address_of(texts.mask.as_ref())?,
            added: self.address_of(added)?,
            distances: self.address_of(extras.distances)?,
            cosines: self.address_of(extras.angles.map(|(cosines, _)| cosines))?,
            sines: self.address_of(extras.angles.map(|(_, sines)| sines))?,
            hidden: hidden as i32,
            head_size: head_size as i32,
            reach: reach as i32,
            window: extras.window.map_or(-1, |window| window.min(i32::MAX as usize / 2) as i32),
            pairs: pairs as i32,
            scale: 1.0 / (head_size as f32).sqrt(),
        };
        let (threads, shared) = needs(dtype, size);
        let kernel = format!("attention_{}_{size}", type_name(dtype)?);
        // SAFETY: shapes and types were checked; texts lie within the rows. Who gives angles gives them for every position of the
        // longest text.
        unsafe { self.launch(&kernel, (texts.count, heads), threads, shared, &parameters)? };
        Ok(out)
    }
}

fn columns_of(table: Option<&Tensor>) -> Result<usize> {
    table.map_or(Ok(0), |table| Ok(table.dims2()?.1))
}
