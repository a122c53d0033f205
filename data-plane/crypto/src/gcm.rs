//! AES-GCM with its whole ICV, by the kernel that suits the CPU.

use crate::portable::{self, Keystream};
#[cfg(target_arch = "x86_64")]
use crate::x86::avx512;
use crate::{Aad, NONCE_LEN};

/// A way to compute AES-GCM. All give the same octets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    /// The crates `aes` and `ghash`: everywhere.
    Portable,
    /// 512-bit vectors of x86-64: AVX-512 with VAES and VPCLMULQDQ.
    Avx512,
}

impl Kernel {
    /// The kernels that this machine runs, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        [Self::Avx512, Self::Portable].into_iter().filter(|kernel| kernel.is_available())
    }

    /// Whether this machine runs it.
    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Token::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 => false,
        }
    }

    /// The fastest that this machine runs.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }
}

/// What a kernel has computed ahead.
pub(crate) enum Key {
    Portable(portable::Key),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Key),
}

impl Key {
    /// Expands a key for a kernel, or for the portable one where the machine does not run it; `None` where the length is none of AES.
    pub(crate) fn new(kernel: Kernel, key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if let (Kernel::Avx512, Some(token)) = (kernel, avx512::Token::detect()) {
            return avx512::Key::new(token, key).map(Self::Avx512);
        }
        portable::Key::new(key).map(Self::Portable)
    }

    pub(crate) const fn bits(&self) -> u32 {
        match self {
            Self::Portable(key) => key.bits(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(key) => key.bits(),
        }
    }

    #[inline]
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], stream: &mut Keystream) {
        match self {
            Self::Portable(key) => portable::seal(key, nonce, aad.octets(), data, icv, stream),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(key) => key.seal(nonce, aad, data, icv),
        }
    }

    #[inline]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool {
        match self {
            Self::Portable(key) => portable::open(key, nonce, aad.octets(), data, icv, stream),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(key) => key.open(nonce, aad, data, icv),
        }
    }
}

#[cfg(test)]
mod tests;
