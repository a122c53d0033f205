//! Key contexts.

use core::fmt;

use crate::portable;

/// A key that is no AES key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an AES key has 16, 24 or 32 octets, not {0}")]
pub struct KeyLengthError(pub usize);

/// An AES-GCM key of 128, 192 or 256 bits with its round keys and powers of H. Made off the hot path; zeroed when dropped; never printed, never
/// cloned.
pub struct GcmKey {
    portable: portable::Key,
}

impl GcmKey {
    /// Expands a key, salt not included.
    ///
    /// # Errors
    /// [`KeyLengthError`] for any but 16, 24 or 32 octets.
    pub fn new(key: &[u8]) -> Result<Self, KeyLengthError> {
        portable::Key::new(key).map(|portable| Self { portable }).ok_or(KeyLengthError(key.len()))
    }

    #[inline]
    pub(crate) const fn portable(&self) -> &portable::Key {
        &self.portable
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcmKey(AES-{})", self.portable.bits())
    }
}
