//! Octets that must not leak.

use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A key or other secret: zeroed when dropped, never printed, never cloned, compared in constant time.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over. The vector should have been allocated at its final size: growth leaves copies behind.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// A copy of `octets` in memory of its own.
    pub fn copy_from(octets: &[u8]) -> Self {
        Self::new(octets.to_vec())
    }

    /// The octets, for a primitive that needs them now.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no octets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_secret_prints_its_length_only() {
        assert_eq!(format!("{:?}", Secret::copy_from(b"hunter2")), "Secret(7 octets)");
    }

    #[test]
    fn comparison_sees_content_and_length() {
        assert_eq!(Secret::copy_from(b"a"), Secret::copy_from(b"a"));
        assert_ne!(Secret::copy_from(b"a"), Secret::copy_from(b"b"));
        assert_ne!(Secret::copy_from(b"a"), Secret::copy_from(b"aa"));
    }
}
