//! The micro-kernel's loop in f32, in assembly.
//!
//! Where another thread shares the core, each instruction beside the multiply-adds costs time. What the compiler makes of the loop in
//! [`Tile`](crate::gemm::Tile) has some 50 instructions a step of 12 rows, 41 if multiply-adds broadcast for themselves, as it cannot hold all
//! addresses in registers. Here it is 34: 24 multiply-adds, of which every other row's broadcast for themselves (an address with an index would
//! make two of one), 6 broadcasts, 2 loads, and less than two for all that happens once in 16 steps. On such a core BERT-base took 0.94
//! times as long with it as with those 41, on one of its own the same (Sapphire Rapids). The sums are the same chains of multiply-adds.

use std::arch::asm;
use std::mem::offset_of;

use super::ahead::prefetch;
use super::tiles;
use crate::simd::Matrix;

/// Steps that are written out.
const STEPS: usize = 16;
/// [`Matrix`] says for as many what to prefetch.
const _: () = assert!(STEPS == tiles::STEPS);

/// What the loop reads: addresses, and distances in bytes; and what it counts, as there is no register left for that.
#[repr(C)]
struct Operands {
    a: *const u32,
    a_stride: usize,
    b: *const u32,
    rounds: usize,
    rest: usize,
    start: *const f32,
    start_stride: usize,
    c: *mut f32,
    c_stride: usize,
    ahead: *const f32,
    ahead_apart: usize,
    /// For each quarter of the steps written out: more at once would hold up the loads (a product of 16 rows, which waits for weights most,
    /// took 1.08 times as long with all of them together).
    ahead_lines: [usize; 4],
}

/// One step, so many bytes from where the rows are: of two rows, which share an address, or of the last one.
macro_rules! pair {
    ($at:literal, $p:literal, $l:literal $r:literal) => {
        concat!(
            "vfmadd231ps zmm", $l, ", zmm24, dword ptr [{", $p, "} + ", $at, "]{{1to16}}\n",
            "vfmadd231ps zmm", $r, ", zmm25, dword ptr [{", $p, "} + ", $at, "]{{1to16}}\n",
        )
    };
    ($at:literal, $p:literal, $l:literal $r:literal $l2:literal $r2:literal) => {
        concat!(
            "vbroadcastss zmm26, dword ptr [{", $p, "} + {s} + ", $at, "]\n",
            pair!($at, $p, $l $r),
            "vfmadd231ps zmm", $l2, ", zmm24, zmm26\n",
            "vfmadd231ps zmm", $r2, ", zmm25, zmm26\n",
        )
    };
}

/// One step of all rows, so many bytes from where rows and panel are.
macro_rules! step {
    ($at:literal, $b:literal, $([$p:literal $($sum:literal)*])*) => {
        concat!(
            "vmovups zmm24, [{b} + ", $b, "]\n",
            "vmovups zmm25, [{b} + ", $b, " + 64]\n",
            $(pair!($at, $p, $($sum)*),)*
        )
    };
}

/// Loads or stores the sums of the rows, from `{n}` on, `{apart}` bytes from row to row.
macro_rules! sums {
    (load $l:literal $r:literal) => {
        concat!("vmovups zmm", $l, ", [{n}]\nvmovups zmm", $r, ", [{n} + 64]\nadd {n}, {apart}\n")
    };
    (store $l:literal $r:literal) => {
        concat!("vmovups [{n}], zmm", $l, "\nvmovups [{n} + 64], zmm", $r, "\nadd {n}, {apart}\n")
    };
    ($way:ident $l:literal $r:literal $l2:literal $r2:literal) => {
        concat!(sums!($way $l $r), sums!($way $l2 $r2))
    };
}

/// Moves all addresses on: rows by so many bytes, the panel by that many.
macro_rules! advance {
    ($rows:literal, $panel:literal) => {
        concat!(
            "add {p0}, ",
            $rows,
            "\nadd {p1}, ",
            $rows,
            "\nadd {p2}, ",
            $rows,
            "\n",
            "add {p3}, ",
            $rows,
            "\nadd {p4}, ",
            $rows,
            "\nadd {p5}, ",
            $rows,
            "\n",
            "add {b}, ",
            $panel,
            "\n",
        )
    };
}

macro_rules! multiply {
    ($operands:expr, $([$p:literal $($sum:literal)*])*) => {
        asm!(
            "mov {n}, [{o} + {at_start}]",
            "mov {apart}, [{o} + {at_start_stride}]",
            $(sums!(load $($sum)*),)*
            "mov {p0}, [{o} + {at_a}]",
            "mov {s}, [{o} + {at_a_stride}]",
            "lea {p1}, [{p0} + {s}*2]",
            "lea {p2}, [{p1} + {s}*2]",
            "lea {p3}, [{p2} + {s}*2]",
            "lea {p4}, [{p3} + {s}*2]",
            "lea {p5}, [{p4} + {s}*2]",
            "mov {b}, [{o} + {at_b}]",
            "mov {ahead}, [{o} + {at_ahead}]",
            "mov {apart}, [{o} + {at_apart}]",
            "lea {ahead2}, [{ahead} + {apart}]",
            "cmp qword ptr [{o} + {at_rounds}], 0",
            "je 4f",
            "2:",
            prefetch!("{at_lines} + 0"),
            step!(0, 0, $([$p $($sum)*])*),
            step!(4, 128, $([$p $($sum)*])*),
            step!(8, 256, $([$p $($sum)*])*),
            step!(12, 384, $([$p $($sum)*])*),
            prefetch!("{at_lines} + 8"),
            step!(16, 512, $([$p $($sum)*])*),
            step!(20, 640, $([$p $($sum)*])*),
            step!(24, 768, $([$p $($sum)*])*),
            step!(28, 896, $([$p $($sum)*])*),
            prefetch!("{at_lines} + 16"),
            step!(32, 1024, $([$p $($sum)*])*),
            step!(36, 1152, $([$p $($sum)*])*),
            step!(40, 1280, $([$p $($sum)*])*),
            step!(44, 1408, $([$p $($sum)*])*),
            prefetch!("{at_lines} + 24"),
            step!(48, 1536, $([$p $($sum)*])*),
            step!(52, 1664, $([$p $($sum)*])*),
            step!(56, 1792, $([$p $($sum)*])*),
            step!(60, 1920, $([$p $($sum)*])*),
            advance!(64, 2048),
            "dec qword ptr [{o} + {at_rounds}]",
            "jnz 2b",
            "4:",
            "mov {n}, [{o} + {at_rest}]",
            "test {n}, {n}",
            "jz 7f",
            "6:",
            step!(0, 0, $([$p $($sum)*])*),
            advance!(4, 128),
            "dec {n}",
            "jnz 6b",
            "7:",
            "mov {n}, [{o} + {at_c}]",
            "mov {apart}, [{o} + {at_c_stride}]",
            $(sums!(store $($sum)*),)*
            o = in(reg) &raw mut $operands,
            p0 = out(reg) _,
            p1 = out(reg) _,
            p2 = out(reg) _,
            p3 = out(reg) _,
            p4 = out(reg) _,
            p5 = out(reg) _,
            s = out(reg) _,
            b = out(reg) _,
            n = out(reg) _,
            ahead = out(reg) _,
            ahead2 = out(reg) _,
            apart = out(reg) _,
            at_a = const offset_of!(Operands, a),
            at_a_stride = const offset_of!(Operands, a_stride),
            at_b = const offset_of!(Operands, b),
            at_rounds = const offset_of!(Operands, rounds),
            at_rest = const offset_of!(Operands, rest),
            at_start = const offset_of!(Operands, start),
            at_start_stride = const offset_of!(Operands, start_stride),
            at_c = const offset_of!(Operands, c),
            at_c_stride = const offset_of!(Operands, c_stride),
            at_ahead = const offset_of!(Operands, ahead),
            at_apart = const offset_of!(Operands, ahead_apart),
            at_lines = const offset_of!(Operands, ahead_lines),
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
            out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _,
            out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm24") _, out("zmm25") _, out("zmm26") _,
            options(nostack),
        )
    };
}

/// [`Simd::tile_f32`](crate::simd::Simd::tile_f32). A function of its own, not part of each loop around it: it is some 4 KiB.
///
/// # Safety
/// As there.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn multiply<const ROWS: usize>(matrix: &Matrix) {
    let Matrix { a, a_stride, b, depth, start, start_stride, c, c_stride, ahead, ahead_apart, ahead_lines, .. } =
        *matrix;
    let mut o = Operands {
        a,
        a_stride: a_stride * size_of::<u32>(),
        b,
        rounds: depth / STEPS,
        rest: depth % STEPS,
        start,
        start_stride: start_stride * size_of::<f32>(),
        c,
        c_stride: c_stride * size_of::<f32>(),
        ahead,
        ahead_apart: ahead_apart * size_of::<f32>(),
        ahead_lines: [3, 2, 1, 0].map(|more| (ahead_lines + more) / 4),
    };
    // SAFETY: the caller's promise. Addresses of rows that are not there are computed and not used.
    unsafe {
        match ROWS {
            1 => multiply!(o, ["p0" 0 1]),
            2 => multiply!(o, ["p0" 0 1 2 3]),
            3 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5]),
            4 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7]),
            5 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9]),
            6 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11]),
            7 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11] ["p3" 12 13]),
            8 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11] ["p3" 12 13 14 15]),
            9 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11] ["p3" 12 13 14 15] ["p4" 16 17]),
            10 => multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11] ["p3" 12 13 14 15] ["p4" 16 17 18 19]),
            11 => {
                multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11] ["p3" 12 13 14 15] ["p4" 16 17 18 19] ["p5" 20 21])
            }
            _ => {
                multiply!(o, ["p0" 0 1 2 3] ["p1" 4 5 6 7] ["p2" 8 9 10 11] ["p3" 12 13 14 15] ["p4" 16 17 18 19] ["p5" 20 21 22 23])
            }
        }
    }
}
