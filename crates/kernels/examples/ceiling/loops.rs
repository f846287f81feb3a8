//! Loops of one instruction between registers.

use bert_layers_kernels::Kernels;

use super::Precision;

/// The loop of the instruction that this set multiplies with, where somebody has written it.
pub fn ceiling(kernels: Kernels, precision: Precision) -> Option<unsafe fn() -> f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let has = |extension| kernels.extensions().contains(&extension);
        Some(match precision {
            Precision::F32 if matches!(kernels.name(), "amx") || kernels.name().starts_with("avx512") => of::avx512_f32,
            Precision::F32 if kernels.name().starts_with("avx2") => of::avx2_f32,
            Precision::Bf16 if has("amx_bf16") => of::amx_bf16,
            Precision::Int8 if has("amx_int8") => of::amx_int8,
            Precision::Bf16 if has("avx512_bf16") => of::avx512_bf16,
            Precision::Int8 if has("avx512_vnni") => of::avx512_int8,
            Precision::Int8 if has("avx_vnni") => of::avx2_int8,
            _ => return None,
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (kernels, precision);
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod of {
    pub const STEPS: u64 = 50_000;

    /// Fourteen independent chains, more than the six cycles times two units that keep the processor busy. In assembly, as a
    /// compiler has its own ideas about a loop that computes nothing.
    macro_rules! loop_of {
        ($name:ident, $features:literal, $instruction:literal, $register:literal, $multiplies:literal) => {
            /// Runs `STEPS` steps of fourteen instructions and says how many operations that were: two for each multiply-add.
            #[target_feature(enable = $features)]
            pub fn $name() -> f64 {
                // SAFETY: it changes only the registers that it names, and has the instructions.
                unsafe {
                    std::arch::asm!(
                        "2:",
                        concat!($instruction, " ", $register, "0, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "1, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "2, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "3, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "4, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "5, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "6, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "7, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "8, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "9, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "10, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "11, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "12, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "13, ", $register, "14, ", $register, "15"),
                        "dec {steps}",
                        "jnz 2b",
                        steps = inout(reg) STEPS => _,
                        inout("xmm0") 0.0f32 => _, inout("xmm1") 0.0f32 => _, inout("xmm2") 0.0f32 => _,
                        inout("xmm3") 0.0f32 => _, inout("xmm4") 0.0f32 => _, inout("xmm5") 0.0f32 => _,
                        inout("xmm6") 0.0f32 => _, inout("xmm7") 0.0f32 => _, inout("xmm8") 0.0f32 => _,
                        inout("xmm9") 0.0f32 => _, inout("xmm10") 0.0f32 => _, inout("xmm11") 0.0f32 => _,
                        inout("xmm12") 0.0f32 => _, inout("xmm13") 0.0f32 => _, in("xmm14") 1.0f32, in("xmm15") 1.0f32,
                        options(nomem, nostack),
                    );
                }
                (STEPS * 14 * $multiplies * 2) as f64
            }
        };
    }

    /// What LDTILECFG reads: palette 1, eight tiles of 16 rows of 64 bytes.
    #[repr(align(64))]
    struct Tiles(#[allow(dead_code)] [u8; 64]); // assembly reads it

    const TILES: Tiles = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            (bytes[16 + 2 * tile], bytes[48 + tile]) = (64, 16);
            tile += 1;
        }
        Tiles(bytes)
    };

    /// Four chains, since a product takes some 52 cycles and a new one can begin after 16.
    macro_rules! loop_of_tiles {
        ($name:ident, $instruction:literal, $multiplies:literal) => {
            /// The same of tiles: steps of four instructions. What the thread's registers are configured for is kept.
            pub fn $name() -> f64 {
                let mut before = Tiles([0; 64]);
                // SAFETY: it changes only the registers that it names, and has the instructions.
                unsafe {
                    std::arch::asm!(
                        "sttilecfg [{before}]",
                        "ldtilecfg [{tiles}]",
                        "2:",
                        concat!($instruction, " tmm0, tmm4, tmm6"),
                        concat!($instruction, " tmm1, tmm4, tmm7"),
                        concat!($instruction, " tmm2, tmm5, tmm6"),
                        concat!($instruction, " tmm3, tmm5, tmm7"),
                        "dec {steps}",
                        "jnz 2b",
                        "ldtilecfg [{before}]",
                        before = in(reg) &mut before,
                        tiles = in(reg) &TILES,
                        steps = inout(reg) STEPS => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
                (STEPS * 4 * $multiplies * 2) as f64
            }
        };
    }

    loop_of_tiles!(amx_bf16, "tdpbf16ps", 8192);
    loop_of_tiles!(amx_int8, "tdpbusd", 16384);
    loop_of!(avx512_f32, "avx512f", "vfmadd231ps", "zmm", 16);
    loop_of!(avx512_bf16, "avx512f,avx512bf16", "vdpbf16ps", "zmm", 32);
    loop_of!(avx512_int8, "avx512f,avx512vnni", "vpdpbusd", "zmm", 64);
    loop_of!(avx2_f32, "avx2,fma", "vfmadd231ps", "ymm", 8);
    loop_of!(avx2_int8, "avx2,avxvnni", "{{vex}} vpdpbusd", "ymm", 32);
}
