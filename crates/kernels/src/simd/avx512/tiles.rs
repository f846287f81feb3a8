//! AMX: eight registers that hold tiles of 16 rows × 64 bytes, and instructions that multiply two of them, each in the time of
//! some sixteen dot products of AVX-512 and as much as 256 of those.
//!
//! Four registers hold sums, of two times 16 rows and the panel's two times 16 columns; one holds rows of a, first these and then those,
//! two the panel's words. A panel of ours, read 16 steps at a time, is just what the instructions want for their second factor.
//!
//! The eighth register is left alone on purpose. Where another thread shares the core, there seem to be few registers behind these
//! names, and each name in use takes one of those that loads and products in flight need: four loads and four products took
//! 136 ns with eight names, 92 with seven, and 30 either way where nobody shares the core (Sapphire Rapids; products of 128 rows as a
//! whole: 0.83 times as long). Of up to 16 rows, whose sums are two, four names will do.
//!
//! The registers are configured before they are used, each thread for itself, and the system has to allow it, each process for
//! itself. Both happen here. While they hold something, each switch between threads saves 8 KiB more: see [`rest`].

use std::arch::asm;
use std::cell::Cell;
use std::mem::offset_of;
use std::sync::OnceLock;

use super::ahead::prefetch;
use crate::simd::Matrix;

/// Rows of a tile.
const ROWS: usize = 16;
/// Steps of k in a tile: words in a row of a, rows of the panel's words.
pub(super) const STEPS: usize = 16;
/// Bytes of half a step of a panel.
const HALF: usize = 16 * size_of::<u32>();

/// Whether the processor multiplies tiles of bf16 and of int8, and the system lets this process do so. Asked once.
pub(super) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| present() && request())
}

/// AMX-BF16, AMX-TILE and AMX-INT8 are bits 22, 24 and 25 of EDX in leaf 7, which any processor with AVX-512 has. std does not
/// know them on stable Rust.
fn present() -> bool {
    const ALL: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    #[allow(unused_unsafe)] // newer Rust has it safe to call
    // SAFETY: every x86-64 processor has the instruction.
    let leaf = unsafe { std::arch::x86_64::__cpuid_count(7, 0) };
    leaf.edx & ALL == ALL
}

/// Asks Linux for the registers (Documentation/arch/x86/xstate.rst). A kernel that does not know the request fails it, and so does
/// a process whose signal stacks are too small for them.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn request() -> bool {
    use std::ffi::c_long;
    const SYS_ARCH_PRCTL: c_long = 158;
    const ARCH_REQ_XCOMP_PERM: c_long = 0x1023;
    const XFEATURE_XTILEDATA: c_long = 18;
    // In the C library, which std links anyway.
    unsafe extern "C" {
        fn syscall(number: c_long, ...) -> c_long;
    }
    // SAFETY: no pointers; all that it changes is what this process may use.
    unsafe { syscall(SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Other systems have ways of their own, which nobody has tried.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn request() -> bool {
    false
}

thread_local! {
    /// The rows that this thread's tiles of a and of sums have; 0: nothing is configured.
    static CONFIGURED: Cell<usize> = const { Cell::new(0) };
}

/// What LDTILECFG reads (Intel's manual, volume 1, 18.3).
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

/// Configures this thread's registers so that two tiles, of the first and of the last rows out of `rows` ≤ 32, cover them all; says
/// how many rows a tile has. Of at most 16 rows both tiles have all.
///
/// # Safety
/// The registers are [`permitted`].
#[inline(always)]
unsafe fn configure(rows: usize) -> usize {
    let least = if rows <= ROWS { rows } else { rows.div_ceil(2) };
    let configured = CONFIGURED.get();
    // A new configuration takes as long as a few products, so one in which a row or two are computed twice will do.
    if least <= configured && configured <= rows && configured <= least + 2 {
        return configured;
    }
    let mut configuration =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes_per_row: [0; 16], rows: [0; 16] };
    // Sums and rows of a, then words.
    configuration.bytes_per_row[..7].fill(64);
    configuration.rows[..5].fill(least as u8);
    configuration.rows[5..7].fill(ROWS as u8);
    // SAFETY: a valid configuration; the caller's promise.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(readonly, nostack, preserves_flags)) };
    CONFIGURED.set(least);
    least
}

/// Empties this thread's registers: for when it has nothing more to multiply for a while.
pub(crate) fn rest() {
    if CONFIGURED.get() != 0 {
        // SAFETY: they were configured, so the processor has the instruction.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
        CONFIGURED.set(0);
    }
}

/// What the loops read: addresses, and distances in bytes.
#[repr(C)]
struct Operands {
    /// Of the first rows, and of the last.
    a: [*const u32; 2],
    a_stride: usize,
    /// The left half of the first step, and the right.
    b: [*const u32; 2],
    b_stride: usize,
    rounds: usize,
    start: [*const f32; 2],
    start_stride: usize,
    c: [*mut f32; 2],
    c_stride: usize,
    ahead: *const f32,
    ahead_apart: usize,
    ahead_lines: usize,
}

impl Operands {
    /// # Safety
    /// The registers are [`permitted`].
    #[inline(always)]
    unsafe fn of(matrix: &Matrix) -> Self {
        let Matrix {
            rows,
            a,
            a_stride,
            b,
            halves_apart,
            depth,
            start,
            start_stride,
            c,
            c_stride,
            ahead,
            ahead_apart,
            ahead_lines,
        } = *matrix;
        // SAFETY: the caller's promise.
        let last = rows - unsafe { configure(rows) };
        Operands {
            a: [a, a.wrapping_add(last * a_stride)],
            a_stride: a_stride * size_of::<u32>(),
            b: [b, b.wrapping_byte_add(if halves_apart { STEPS * HALF } else { HALF })],
            b_stride: if halves_apart { HALF } else { 2 * HALF },
            rounds: depth / STEPS,
            start: [start, start.wrapping_add(last * start_stride)],
            start_stride: start_stride * size_of::<f32>(),
            c: [c, c.wrapping_add(last * c_stride)],
            c_stride: c_stride * size_of::<f32>(),
            ahead,
            ahead_apart: ahead_apart * size_of::<f32>(),
            ahead_lines,
        }
    }
}

/// Starts sums, adds a · b in rounds of [`STEPS`] steps, and stores them. One piece of assembly, since what these registers hold means
/// nothing to the compiler.
///
/// `first` multiplies the first rows alone: for 16 rows of which there are no last ones.
macro_rules! multiply {
    ($operands:expr, $product:literal) => {
        multiply!(
            $operands,
            $product,
            ["tileloadd tmm2, [{y} + {stride}*1]", "tileloadd tmm3, [{y} + {stride}*1 + 64]"],
            ["tilezero tmm2", "tilezero tmm3"],
            [
                "tileloadd tmm6, [{b2} + {b_stride}*1]",
                concat!($product, " tmm1, tmm4, tmm6"),
                "tileloadd tmm4, [{y} + {stride}*1]",
                concat!($product, " tmm2, tmm4, tmm5"),
                concat!($product, " tmm3, tmm4, tmm6"),
            ],
            ["tilestored [{y} + {stride}*1], tmm2", "tilestored [{y} + {stride}*1 + 64], tmm3"]
        )
    };
    (first $operands:expr, $product:literal) => {
        multiply!(
            $operands,
            $product,
            [],
            [],
            ["tileloadd tmm5, [{b2} + {b_stride}*1]", concat!($product, " tmm1, tmm4, tmm5")],
            []
        )
    };
    // With what the last rows need to start sums where `start` says, or at 0, and to store them, and with all of a round but the first
    // rows times the left half.
    ($operands:expr, $product:expr, [$($start:expr),*], [$($zero:expr),*], [$($round:expr),* $(,)?], [$($store:expr),*]) => {
        asm!(
            "mov {x}, [{o} + {at_start}]",
            "test {x}, {x}",
            "jz 2f",
            "mov {y}, [{o} + {at_start} + 8]",
            "mov {stride}, [{o} + {at_start_stride}]",
            "tileloadd tmm0, [{x} + {stride}*1]",
            "tileloadd tmm1, [{x} + {stride}*1 + 64]",
            $($start,)*
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            $($zero,)*
            "3:",
            "mov {x}, [{o} + {at_a}]",
            "mov {y}, [{o} + {at_a} + 8]",
            "mov {stride}, [{o} + {at_a_stride}]",
            "mov {b}, [{o} + {at_b}]",
            "mov {b2}, [{o} + {at_b} + 8]",
            "mov {b_stride}, [{o} + {at_b_stride}]",
            "mov {rounds}, [{o} + {at_rounds}]",
            "mov {ahead}, [{o} + {at_ahead}]",
            "mov {apart}, [{o} + {at_apart}]",
            "lea {ahead2}, [{ahead} + {apart}]",
            "4:",
            "tileloadd tmm5, [{b} + {b_stride}*1]",
            "tileloadd tmm4, [{x} + {stride}*1]",
            concat!($product, " tmm0, tmm4, tmm5"),
            $($round,)*
            prefetch!("{at_lines}"),
            "add {x}, 64",
            "add {y}, 64",
            "add {b}, {round}",
            "add {b2}, {round}",
            "dec {rounds}",
            "jnz 4b",
            "mov {x}, [{o} + {at_c}]",
            "mov {y}, [{o} + {at_c} + 8]",
            "mov {stride}, [{o} + {at_c_stride}]",
            "tilestored [{x} + {stride}*1], tmm0",
            "tilestored [{x} + {stride}*1 + 64], tmm1",
            $($store,)*
            o = in(reg) &$operands,
            x = out(reg) _,
            y = out(reg) _,
            stride = out(reg) _,
            b = out(reg) _,
            b2 = out(reg) _,
            b_stride = out(reg) _,
            rounds = out(reg) _,
            ahead = out(reg) _,
            ahead2 = out(reg) _,
            apart = out(reg) _,
            n = out(reg) _,
            round = const STEPS * 2 * HALF,
            at_start = const offset_of!(Operands, start),
            at_start_stride = const offset_of!(Operands, start_stride),
            at_a = const offset_of!(Operands, a),
            at_a_stride = const offset_of!(Operands, a_stride),
            at_b = const offset_of!(Operands, b),
            at_b_stride = const offset_of!(Operands, b_stride),
            at_rounds = const offset_of!(Operands, rounds),
            at_c = const offset_of!(Operands, c),
            at_c_stride = const offset_of!(Operands, c_stride),
            at_ahead = const offset_of!(Operands, ahead),
            at_apart = const offset_of!(Operands, ahead_apart),
            at_lines = const offset_of!(Operands, ahead_lines),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _,
            options(nostack),
        )
    };
}

/// [`Simd::multiply_bf16`](crate::simd::Simd::multiply_bf16).
///
/// # Safety
/// As there; and the registers are [`permitted`].
#[inline(always)]
pub(super) unsafe fn multiply_bf16(matrix: &Matrix) {
    // SAFETY: the caller's promise. All rows are read before one is written, so those that both tiles have come out alike.
    unsafe {
        match matrix.rows {
            ..=ROWS => multiply!(first Operands::of(matrix), "tdpbf16ps"),
            _ => multiply!(Operands::of(matrix), "tdpbf16ps"),
        }
    }
}

/// [`Simd::multiply_int8`](crate::simd::Simd::multiply_int8).
///
/// # Safety
/// As there; and the registers are [`permitted`].
#[inline(always)]
pub(super) unsafe fn multiply_int8(matrix: &Matrix) {
    // SAFETY: as in `multiply_bf16`.
    unsafe {
        match matrix.rows {
            ..=ROWS => multiply!(first Operands::of(matrix), "tdpbusd"),
            _ => multiply!(Operands::of(matrix), "tdpbusd"),
        }
    }
}
