//! Which instruction set runs: the best that the processor has, or the one that the user asks for.

use std::fmt;
use std::sync::OnceLock;

use crate::simd::portable::Portable;
use crate::simd::{Simd, Work};

#[cfg(target_arch = "x86_64")]
use crate::simd::{
    avx2::Avx2,
    avx512::{AMX, Avx512, BF16, VNNI, tiles},
};

#[cfg(target_arch = "aarch64")]
use crate::simd::neon::{self, Neon};

/// The environment variable that names the instruction set to use instead of the best one.
pub const INSTRUCTION_SET_VARIABLE: &str = "BERT_LAYERS_ISA";

/// The kernels of one instruction set that this processor has: a cheap handle, to be kept and copied.
///
/// Results of two instruction sets differ in the last bits; everything that has to be bit-equal must use one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    name: &'static str,
    set: Set,
}

/// For each, what runs f32 and then, where an extension makes another choice better, what runs bf16 and int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2 {
        f32: Avx2,
        int8: Option<Avx2<true>>,
    },
    #[cfg(target_arch = "x86_64")]
    Avx512 {
        f32: Avx512,
        bf16: Option<Avx512<BF16>>,
        int8: Option<Avx512<VNNI>>,
        avx2: Avx2,
    },
    /// AVX-512 for f32, and for all others tiles.
    #[cfg(target_arch = "x86_64")]
    Amx {
        f32: Avx512,
        low: Avx512<AMX>,
    },
    #[cfg(target_arch = "aarch64")]
    Neon {
        f32: Neon,
        bf16: Option<Neon<{ neon::BF16 }>>,
        int8: Option<Neon<{ neon::DOTPROD }>>,
        i8mm: Option<Neon<{ neon::I8MM }>>,
    },
}

/// [`INSTRUCTION_SET_VARIABLE`] names no instruction set that this build has and this processor can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownInstructionSet {
    /// What was asked for.
    pub name: String,
}

impl fmt::Display for UnknownInstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Kernels::available().iter().map(|k| k.name()).collect();
        write!(
            f,
            "{INSTRUCTION_SET_VARIABLE}={:?} is no instruction set that can run here; there are: {}",
            self.name,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownInstructionSet {}

impl Kernels {
    /// The instruction set that [`INSTRUCTION_SET_VARIABLE`] names, or else the best that there is. Decided at the first
    /// call, for the life of the process. An empty value counts as none.
    ///
    /// # Errors
    /// [`UnknownInstructionSet`] if the variable names one that cannot run here: an explicit choice is never ignored.
    pub fn chosen() -> Result<Kernels, UnknownInstructionSet> {
        static CHOSEN: OnceLock<Result<Kernels, UnknownInstructionSet>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| match std::env::var_os(INSTRUCTION_SET_VARIABLE) {
                Some(name) if !name.is_empty() => Self::requested(&name.to_string_lossy()),
                _ => Ok(Self::best()),
            })
            .clone()
    }

    fn requested(name: &str) -> Result<Kernels, UnknownInstructionSet> {
        Self::named(name).ok_or_else(|| UnknownInstructionSet { name: name.to_owned() })
    }

    fn best() -> Kernels {
        Self::available().first().copied().unwrap_or_else(Self::portable)
    }

    /// The portable set: the definition of every kernel, the same on every processor.
    pub fn portable() -> Kernels {
        Kernels { name: "portable", set: Set::Portable(Portable) }
    }

    /// What this processor can run, best first; the portable set, which everything can run, is last.
    ///
    /// "amx" is "avx512" with AMX for bf16 and int8. "avx512", "avx2" and "neon" use the other extensions for these that the processor
    /// has. If there are any, the same sets without them, "avx512-base", "avx2-base" and "neon-base", are there as well, and
    /// "avx512-vnni" with the one for int8: what older processors run.
    pub fn available() -> Vec<Kernels> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if let (Some(f32), Some(low)) = (Avx512::detect(), Avx512::detect()) {
                sets.push(Kernels { name: "amx", set: Set::Amx { f32, low } });
            }
            if let (Some(f32), Some(avx2)) = (Avx512::detect(), Avx2::detect()) {
                let (bf16, int8) = (Avx512::detect(), Avx512::detect());
                let base = Set::Avx512 { f32, bf16: None, int8: None, avx2 };
                if bf16.is_some() || int8.is_some() {
                    sets.push(Kernels { name: "avx512", set: Set::Avx512 { f32, bf16, int8, avx2 } });
                    if bf16.is_some() {
                        sets.push(Kernels { name: "avx512-vnni", set: Set::Avx512 { f32, bf16: None, int8, avx2 } });
                    }
                    sets.push(Kernels { name: "avx512-base", set: base });
                } else {
                    sets.push(Kernels { name: "avx512", set: base });
                }
            }
            if let Some(f32) = Avx2::detect() {
                let base = Set::Avx2 { f32, int8: None };
                if let Some(int8) = Avx2::detect() {
                    sets.push(Kernels { name: "avx2", set: Set::Avx2 { f32, int8: Some(int8) } });
                    sets.push(Kernels { name: "avx2-base", set: base });
                } else {
                    sets.push(Kernels { name: "avx2", set: base });
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(f32) = Neon::detect() {
            let (bf16, int8, i8mm) = (Neon::detect(), Neon::detect(), Neon::detect());
            let base = Set::Neon { f32, bf16: None, int8: None, i8mm: None };
            if bf16.is_some() || int8.is_some() {
                sets.push(Kernels { name: "neon", set: Set::Neon { f32, bf16, int8, i8mm } });
                sets.push(Kernels { name: "neon-base", set: base });
            } else {
                sets.push(Kernels { name: "neon", set: base });
            }
        }
        sets.push(Self::portable());
        sets
    }

    /// The instruction set of that name (see [`available`](Self::available)), if it can run here.
    pub fn named(name: &str) -> Option<Kernels> {
        Self::available().into_iter().find(|kernels| kernels.name == name)
    }

    /// The name of the instruction set.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The extensions that it uses for bf16 and int8, as Linux names them.
    pub fn extensions(self) -> &'static [&'static str] {
        match self.set {
            #[cfg(target_arch = "x86_64")]
            Set::Amx { .. } => &["amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni"],
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { bf16, int8, .. } => match (bf16.is_some(), int8.is_some()) {
                (true, true) => &["avx512_bf16", "avx512_vnni"],
                (true, false) => &["avx512_bf16"],
                (false, true) => &["avx512_vnni"],
                (false, false) => &[],
            },
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 { int8: Some(_), .. } => &["avx_vnni"],
            #[cfg(target_arch = "aarch64")]
            Set::Neon { bf16, int8, i8mm, .. } => match (bf16.is_some(), int8.is_some(), i8mm.is_some()) {
                (true, _, true) => &["bf16", "asimddp", "i8mm"],
                (true, true, _) => &["bf16", "asimddp"],
                (true, ..) => &["bf16"],
                (_, _, true) => &["asimddp", "i8mm"],
                (_, true, _) => &["asimddp"],
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Runs `work` compiled for this instruction set: the one place where generic code meets a processor.
    pub(crate) fn vectorize<W: Work>(self, work: W) -> W::Output {
        match self.set {
            Set::Portable(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 { f32, .. } => f32.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { f32, .. } | Set::Amx { f32, .. } => f32.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon { f32, .. } => f32.vectorize(work),
        }
    }

    /// Runs `work`, which multiplies bf16.
    pub(crate) fn vectorize_bf16<W: Work>(self, work: W) -> W::Output {
        match self.set {
            #[cfg(target_arch = "x86_64")]
            Set::Amx { low, .. } => in_tiles(low, work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { bf16: Some(simd), .. } => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon { bf16: Some(simd), .. } => simd.vectorize(work),
            _ => self.vectorize(work),
        }
    }

    /// Runs `work`, which multiplies int8. Plain AVX-512 has nothing for that which AVX2 has not.
    pub(crate) fn vectorize_int8<W: Work>(self, work: W) -> W::Output {
        match self.set {
            Set::Portable(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Amx { low, .. } => in_tiles(low, work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { bf16: Some(simd), .. } => simd.vectorize(work), // which has the dot products of int8, too
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { int8: Some(simd), .. } => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 { avx2: simd, .. } => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 { int8: Some(simd), .. } => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 { f32: simd, .. } => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon { i8mm: Some(simd), .. } => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon { int8: Some(simd), .. } => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon { f32: simd, .. } => simd.vectorize(work),
        }
    }
}

/// Runs `work`, and leaves the tile registers empty behind it: a switch to another thread then has nothing of theirs to save.
#[cfg(target_arch = "x86_64")]
fn in_tiles<W: Work>(simd: Avx512<AMX>, work: W) -> W::Output {
    let result = simd.vectorize(work);
    tiles::rest();
    result
}

/// Columns of a panel of packed weights.
pub(crate) struct PanelWidth;

impl Work for PanelWidth {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        S::PANEL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_set_is_always_there_and_last() {
        let available = Kernels::available();
        assert_eq!(available.last().map(|k| k.name()), Some("portable"));
        for kernels in available {
            assert_eq!(Kernels::named(kernels.name()), Some(kernels));
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_what_there_is() {
        assert_eq!(Kernels::named("mmx"), None);
        let error = Kernels::requested("mmx").expect_err("nobody has written that");
        assert!(error.to_string().contains("\"mmx\"") && error.to_string().contains("portable"), "{error}");
    }
}
