//! AES-GCM with its whole ICV, by the kernel that suits the CPU.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::portable::{self, Keystream};
#[cfg(target_arch = "x86_64")]
use crate::x86::{avx2, avx512};
use crate::{Aad, NONCE_LEN, OpenJob, SealJob};

/// A way to compute AES-GCM. All give the same octets.
///
/// Its name, as [`Display`](fmt::Display) writes it and [`FromStr`] reads it, is what a setting calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// The crates `aes` and `ghash`: everywhere.
    Portable,
    /// 128-bit vectors of x86-64: AES-NI and PCLMULQDQ, with AVX2.
    AesNi,
    /// 256-bit vectors of x86-64: AVX2 with VAES and VPCLMULQDQ.
    Avx2,
    /// 512-bit vectors of x86-64: AVX-512 with VAES and VPCLMULQDQ.
    Avx512,
}

/// A name that no kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no kernel of this name: there are {}", Names(&Kernel::ALL))]
pub struct UnknownKernel;

/// The CPU lacks what a kernel needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this CPU does not run the kernel {0}: it runs {available}", available = Names(&Kernel::available().collect::<Vec<_>>()))]
pub struct KernelUnavailable(pub Kernel);

impl Kernel {
    /// Every kernel there is, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::AesNi, Self::Portable];

    /// The kernels that this machine runs, the fastest first. The last is always [`Kernel::Portable`].
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    /// The fastest that this machine runs.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// Whether this machine runs it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::AesNi => avx2::Token::aesni().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Token::vaes().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Token::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::AesNi | Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// This kernel, where the machine runs it.
    ///
    /// # Errors
    /// [`KernelUnavailable`].
    pub fn checked(self) -> Result<Self, KernelUnavailable> {
        if self.is_available() { Ok(self) } else { Err(KernelUnavailable(self)) }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::AesNi => "aesni",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name).ok_or(UnknownKernel)
    }
}

/// Names of kernels, one after the other.
struct Names<'a>(&'a [Kernel]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, kernel)| {
            f.write_str(if n == 0 { "" } else { ", " })?;
            kernel.fmt(f)
        })
    }
}

/// Which jobs of a burst are done, one bit each, the first job lowest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) jobs: u64,
    /// Those that are authentic; meaningless where jobs seal.
    pub(crate) authentic: u64,
}

/// Seals the jobs whose kernel takes many at once, of at most [`crate::MAX_BURST`].
#[inline]
pub(crate) fn seal_burst(jobs: &mut [SealJob<'_>]) -> Done {
    #[cfg(target_arch = "x86_64")]
    return avx512::crypt(jobs);
    #[cfg(not(target_arch = "x86_64"))]
    Done::default()
}

/// Opens the jobs whose kernel takes many at once, of at most [`crate::MAX_BURST`].
#[inline]
pub(crate) fn open_burst(jobs: &mut [OpenJob<'_>]) -> Done {
    #[cfg(target_arch = "x86_64")]
    return avx512::crypt(jobs);
    #[cfg(not(target_arch = "x86_64"))]
    Done::default()
}

/// What a kernel has computed ahead.
#[cfg_attr(target_arch = "x86_64", expect(clippy::large_enum_variant, reason = "the fastest kernel follows no pointer"))]
pub(crate) enum Key {
    /// Behind a pointer, as the next: they leave the size of the last alone.
    Portable(Box<portable::Key>),
    /// Of either width.
    #[cfg(target_arch = "x86_64")]
    Avx2(Box<avx2::Key>),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Key),
}

impl Key {
    /// Expands a key for a kernel, or for the portable one where the machine does not run it; `None` where the length is none of AES.
    pub(crate) fn new(kernel: Kernel, key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = |token| avx2::Key::new(token, key).map(|key| Self::Avx2(Box::new(key)));
            let expanded = match kernel {
                Kernel::Portable => None,
                Kernel::AesNi => avx2::Token::aesni().map(avx2),
                Kernel::Avx2 => avx2::Token::vaes().map(avx2),
                Kernel::Avx512 => avx512::Token::detect().map(|token| avx512::Key::new(token, key).map(Self::Avx512)),
            };
            if let Some(expanded) = expanded {
                return expanded;
            }
        }
        portable::Key::new(key).map(|key| Self::Portable(Box::new(key)))
    }

    pub(crate) const fn bits(&self) -> u32 {
        match self {
            Self::Portable(key) => key.bits(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(key) => key.bits(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(key) => key.bits(),
        }
    }

    #[inline]
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], stream: &mut Keystream) {
        match self {
            Self::Portable(key) => portable::seal(key, nonce, aad.octets(), data, icv, stream),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(key) => key.seal(nonce, aad, data, icv),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(key) => key.seal(nonce, aad, data, icv),
        }
    }

    #[inline]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool {
        match self {
            Self::Portable(key) => portable::open(key, nonce, aad.octets(), data, icv, stream),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(key) => key.open(nonce, aad, data, icv),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(key) => key.open(nonce, aad, data, icv),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
