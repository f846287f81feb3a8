//! A tile of int8 by SMMLA, which multiplies two rows of eight bytes by two columns: twice the products of SDOT.
//!
//! Two neighbouring rows share registers: one holds `[row·column, row·next column, next row·column, next row·next column]`. So
//! two steps of k, two words, are taken at once; what that needs beside each other is brought together as it is loaded.

use std::arch::aarch64::*;
use std::arch::asm;

/// Adds to `sums` the products of `ROWS` rows of `depth` words, the first at `a`, and a panel of eight columns at `b`.
///
/// # Safety
/// They can be read there, need not be aligned; the processor has FEAT_I8MM, and the caller is compiled for it.
#[inline(always)]
pub(super) unsafe fn tile<const ROWS: usize>(
    a: *const u32,
    a_stride: usize,
    b: *const u32,
    depth: usize,
    sums: &mut [[uint32x4_t; 2]; ROWS],
) {
    /// More than pairs of rows in any tile.
    const PAIRS: usize = 6;
    const { assert!(ROWS.div_ceil(2) <= PAIRS) };
    let pairs = ROWS.div_ceil(2);
    // The second row of a pair; the last of an odd number is its own.
    let second = |pair: usize| (2 * pair + 1).min(ROWS - 1);
    // SAFETY: rows, words of rows and of the panel are those that the caller vouches for; the rest only computes.
    unsafe {
        let mut blocks = [[vdupq_n_u32(0); 4]; PAIRS];
        for (pair, blocks) in blocks.iter_mut().enumerate().take(pairs) {
            let ([left, right], [left2, right2]) = (sums[2 * pair], sums[second(pair)]);
            *blocks = [low(left, left2), high(left, left2), low(right, right2), high(right, right2)];
        }
        for k in (0..depth).step_by(2) {
            let b = b.add(k * 8);
            let (left, right) = (load(b), load(b.add(4)));
            let whole = k + 1 < depth;
            let (left2, right2) =
                if whole { (load(b.add(8)), load(b.add(12))) } else { (vdupq_n_u32(0), vdupq_n_u32(0)) };
            let columns = [
                vzip1q_u32(left, left2),
                vzip2q_u32(left, left2),
                vzip1q_u32(right, right2),
                vzip2q_u32(right, right2),
            ];
            for (pair, blocks) in blocks.iter_mut().enumerate().take(pairs) {
                let two = |row: usize| {
                    let at = a.add(row * a_stride + k);
                    if whole { vld1_u8(at.cast()) } else { vcreate_u8(u64::from(at.read_unaligned())) }
                };
                let rows = vreinterpretq_u32_u8(vcombine_u8(two(2 * pair), two(second(pair))));
                for (block, columns) in blocks.iter_mut().zip(columns) {
                    *block = multiply(rows, columns, *block);
                }
            }
        }
        for (pair, &[left, left2, right, right2]) in blocks.iter().enumerate().take(pairs) {
            sums[second(pair)] = [high(left, left2), high(right, right2)];
            sums[2 * pair] = [low(left, left2), low(right, right2)];
        }
    }
}

/// # Safety
/// Four words can be read at `from`.
#[inline(always)]
unsafe fn load(from: *const u32) -> uint32x4_t {
    // SAFETY: the caller's promise; a load of bytes needs no alignment.
    unsafe { vreinterpretq_u32_u8(vld1q_u8(from.cast())) }
}

/// The first halves of two vectors.
#[inline(always)]
unsafe fn low(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
    // SAFETY: only computes.
    unsafe { vreinterpretq_u32_u64(vzip1q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b))) }
}

/// The second halves of two vectors.
#[inline(always)]
unsafe fn high(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
    // SAFETY: only computes.
    unsafe { vreinterpretq_u32_u64(vzip2q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b))) }
}

/// SMMLA, which `std::arch` has on nightly Rust only.
///
/// # Safety
/// The processor has FEAT_I8MM, and the caller is compiled for it.
#[inline(always)]
unsafe fn multiply(rows: uint32x4_t, columns: uint32x4_t, mut sum: uint32x4_t) -> uint32x4_t {
    // SAFETY: only computes; the caller vouches for the instruction.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {rows:v}.16b, {columns:v}.16b",
            sum = inout(vreg) sum, rows = in(vreg) rows, columns = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
