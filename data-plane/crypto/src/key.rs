//! Key contexts.

use core::fmt;

use crate::{chacha, portable};

/// A key of a length its algorithm does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyLengthError {
    /// For AES.
    #[error("an AES key has 16, 24 or 32 octets, not {0}")]
    Aes(usize),
    /// For ChaCha20.
    #[error("a ChaCha20 key has 32 octets, not {0}")]
    ChaCha20(usize),
}

/// A key with everything that can be computed ahead, salt not included. Made off the hot path; zeroed when dropped; never printed, never cloned.
pub struct AeadKey(pub(crate) Algorithm);

/// What a job is done with.
#[expect(clippy::large_enum_variant, reason = "room for a ChaCha20 key is worth less than one pointer more to follow for each AES packet")]
pub(crate) enum Algorithm {
    /// With round keys and powers of H.
    AesGcm(portable::Key),
    ChaCha20Poly1305(chacha::Key),
}

impl AeadKey {
    /// Expands an AES-GCM key of 128, 192 or 256 bits.
    ///
    /// # Errors
    /// [`KeyLengthError`] for any but 16, 24 or 32 octets.
    pub fn aes_gcm(key: &[u8]) -> Result<Self, KeyLengthError> {
        portable::Key::new(key).map(|key| Self(Algorithm::AesGcm(key))).ok_or(KeyLengthError::Aes(key.len()))
    }

    /// Takes a ChaCha20-Poly1305 key.
    ///
    /// # Errors
    /// [`KeyLengthError`] for any but 32 octets.
    pub fn chacha20_poly1305(key: &[u8]) -> Result<Self, KeyLengthError> {
        chacha::Key::new(key).map(|key| Self(Algorithm::ChaCha20Poly1305(key))).ok_or(KeyLengthError::ChaCha20(key.len()))
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Algorithm::AesGcm(key) => write!(f, "AeadKey(AES-{}-GCM)", key.bits()),
            Algorithm::ChaCha20Poly1305(_) => f.write_str("AeadKey(ChaCha20-Poly1305)"),
        }
    }
}
