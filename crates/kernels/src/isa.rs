//! Which instruction set runs: the best that the processor has, or the one that the user asks for.

use std::fmt;
use std::sync::OnceLock;

use crate::simd::portable::Portable;
use crate::simd::{Simd, Work};

#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

#[cfg(target_arch = "aarch64")]
use crate::simd::neon::Neon;

/// The environment variable that names the instruction set to use instead of the best one.
pub const INSTRUCTION_SET_VARIABLE: &str = "BERT_LAYERS_ISA";

/// The kernels of one instruction set that this processor has: a cheap handle, to be kept and copied.
///
/// Results of two instruction sets differ in the last bits; everything that has to be bit-equal must use one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
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
        Kernels(Set::Portable(Portable))
    }

    /// What this processor can run, best first; the portable set, which everything can run, is last.
    pub fn available() -> Vec<Kernels> {
        [
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Set::Avx512),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Set::Avx2),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Set::Neon),
            Some(Set::Portable(Portable)),
        ]
        .into_iter()
        .flatten()
        .map(Kernels)
        .collect()
    }

    /// The instruction set of that name ("portable", "avx2", "avx512", "neon"), if it can run here.
    pub fn named(name: &str) -> Option<Kernels> {
        Self::available().into_iter().find(|kernels| kernels.name() == name)
    }

    /// The name of the instruction set.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "neon",
        }
    }

    /// Columns of a panel of packed weights.
    pub(crate) fn panel(self) -> usize {
        struct Panel;
        impl Work for Panel {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::PANEL
            }
        }
        self.vectorize(Panel)
    }

    /// Runs `work` compiled for this instruction set: the one place where generic code meets a processor.
    pub(crate) fn vectorize<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Set::Portable(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => simd.vectorize(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(simd) => simd.vectorize(work),
        }
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
