//! AES-GCM on vectors of 256 bits where the CPU has VAES and VPCLMULQDQ, and of 128 bits where it has AES-NI and PCLMULQDQ: the same code for both.

mod key;
mod stream;
mod width;

pub(crate) use key::Key;

use super::BLOCK;

cpufeatures::new!(vaes, "avx2", "vaes", "vpclmulqdq", "aes", "pclmulqdq", "sse4.1");
cpufeatures::new!(aesni, "avx2", "aes", "pclmulqdq", "sse4.1");

/// The CPU and the operating system have what a width needs. There is no other way to one than [`Token::vaes`] and [`Token::aesni`].
#[derive(Clone, Copy)]
pub(crate) struct Token(Width);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    /// Two blocks an instruction.
    Vaes,
    /// One.
    AesNi,
}

impl Token {
    /// For vectors of 256 bits.
    pub(crate) fn vaes() -> Option<Self> {
        vaes::get().then_some(Self(Width::Vaes))
    }

    /// For vectors of 128 bits.
    pub(crate) fn aesni() -> Option<Self> {
        aesni::get().then_some(Self(Width::AesNi))
    }
}
