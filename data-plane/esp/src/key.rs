//! Keys as IKE derives them.

use core::fmt;

use esp_crypto::{AeadKey, NONCE_LEN};
use ipsec_types::{EncryptionAlgorithm, Secret};

/// Octets of salt in front of the IV in a nonce (RFC 4106 section 4, RFC 7634 section 2).
const SALT_LEN: usize = 4;

/// Why keying material is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeymatError {
    /// The algorithm is not one the data plane has.
    #[error("{0} is not supported for ESP")]
    Unsupported(EncryptionAlgorithm),
    /// Too few or too many octets.
    #[error("{algorithm} takes {} octets of keying material, not {actual}", algorithm.keymat_len())]
    Length {
        /// The algorithm.
        algorithm: EncryptionAlgorithm,
        /// Octets there were.
        actual: usize,
    },
}

/// The key context and the salt of one SA. The context is zeroed when dropped; the salt is no secret (RFC 4106 section 10 discusses why).
pub struct SaKey {
    key: AeadKey,
    salt: [u8; SALT_LEN],
}

impl SaKey {
    /// Expands keying material: the cipher key followed by the salt (RFC 4106 section 8.1, RFC 7634 section 2).
    ///
    /// # Errors
    /// [`KeymatError`] for an algorithm that is no AEAD, or a wrong length.
    pub fn from_keymat(algorithm: EncryptionAlgorithm, keymat: &Secret) -> Result<Self, KeymatError> {
        let expand = match algorithm {
            EncryptionAlgorithm::AesGcm128 | EncryptionAlgorithm::AesGcm192 | EncryptionAlgorithm::AesGcm256 => AeadKey::aes_gcm,
            EncryptionAlgorithm::ChaCha20Poly1305 => AeadKey::chacha20_poly1305,
            EncryptionAlgorithm::AesCbc128 | EncryptionAlgorithm::AesCbc192 | EncryptionAlgorithm::AesCbc256 => {
                return Err(KeymatError::Unsupported(algorithm));
            }
        };
        let wrong_length = KeymatError::Length { algorithm, actual: keymat.len() };
        if keymat.len() != algorithm.keymat_len() {
            return Err(wrong_length);
        }
        let (key, salt) = keymat.expose().split_last_chunk::<SALT_LEN>().ok_or(wrong_length)?;
        Ok(Self { key: expand(key).map_err(|_| wrong_length)?, salt: *salt })
    }

    #[inline]
    pub(crate) const fn context(&self) -> &AeadKey {
        &self.key
    }

    #[inline]
    pub(crate) const fn nonce(&self, iv: [u8; 8]) -> [u8; NONCE_LEN] {
        let [a, b, c, d] = self.salt;
        let [e, f, g, h, i, j, k, l] = iv;
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl fmt::Debug for SaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.key, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, vec};

    use super::*;

    #[test]
    fn keying_material_is_key_then_salt() {
        let keymat: vec::Vec<u8> = (0..20).collect();
        let key = SaKey::from_keymat(EncryptionAlgorithm::AesGcm128, &Secret::new(keymat)).unwrap();
        assert_eq!(key.nonce([1; 8]), [16, 17, 18, 19, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(format!("{key:?}"), "AeadKey(AES-128-GCM)");
    }

    #[test]
    fn each_algorithm_takes_its_own_length() {
        for &algorithm in EncryptionAlgorithm::ALL {
            for len in 0..40 {
                let result = SaKey::from_keymat(algorithm, &Secret::new(vec![0; len]));
                match result {
                    Ok(_) => assert!(algorithm.is_aead() && len == algorithm.keymat_len()),
                    Err(KeymatError::Unsupported(_)) => assert!(!algorithm.is_aead()),
                    Err(KeymatError::Length { actual, .. }) => assert!(actual == len && len != algorithm.keymat_len()),
                }
            }
        }
    }
}
