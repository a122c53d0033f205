//! AES-GCM with a 16-octet ICV (RFC 5282) and ChaCha20-Poly1305 (RFC 7634) for the Encrypted payload.

use aws_lc_rs::aead::{self, AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use ike::provider::{CryptoError, IvKind, SkKey, SkSuite};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, Secret};
use zeroize::Zeroizing;

/// AES-GCM with a key of 128 bits.
pub(crate) static AES_GCM_128: Aead = Aead { encryption: EncryptionAlgorithm::AesGcm128, algorithm: &AES_128_GCM };
/// AES-GCM with a key of 192 bits.
pub(crate) static AES_GCM_192: Aead = Aead { encryption: EncryptionAlgorithm::AesGcm192, algorithm: &AES_192_GCM };
/// AES-GCM with a key of 256 bits.
pub(crate) static AES_GCM_256: Aead = Aead { encryption: EncryptionAlgorithm::AesGcm256, algorithm: &AES_256_GCM };
/// ChaCha20-Poly1305.
pub(crate) static CHACHA20_POLY1305: Aead = Aead { encryption: EncryptionAlgorithm::ChaCha20Poly1305, algorithm: &aead::CHACHA20_POLY1305 };

const SALT_LEN: usize = 4;
const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;

/// AES-GCM with one key length, or ChaCha20-Poly1305.
#[derive(Debug)]
pub(crate) struct Aead {
    encryption: EncryptionAlgorithm,
    algorithm: &'static Algorithm,
}

impl SkSuite for Aead {
    fn encryption(&self) -> EncryptionAlgorithm {
        self.encryption
    }

    fn integrity(&self) -> Option<IntegrityAlgorithm> {
        None
    }

    fn iv_len(&self) -> usize {
        IV_LEN
    }

    fn iv_kind(&self) -> IvKind {
        IvKind::Unique
    }

    fn icv_len(&self) -> usize {
        ICV_LEN
    }

    fn block_len(&self) -> usize {
        1
    }

    fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        let (key, salt) = encryption.split_last_chunk::<SALT_LEN>().ok_or(CryptoError::KeyLength)?;
        if key.len() != self.encryption.key_len() || !integrity.is_empty() {
            return Err(CryptoError::KeyLength);
        }
        Ok(Box::new(AeadKey { algorithm: self.algorithm, key: Secret::copy_from(key), salt: Zeroizing::new(*salt) }))
    }
}

/// Key and salt of one direction. The key is expanded for each message, which takes a fraction of a microsecond: an IKE SA has few messages in its life,
/// and the schedule takes 600 octets. The library zeroes it when dropped.
struct AeadKey {
    algorithm: &'static Algorithm,
    key: Secret,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl AeadKey {
    fn expand(&self) -> Result<LessSafeKey, CryptoError> {
        UnboundKey::new(self.algorithm, self.key.expose()).map(LessSafeKey::new).map_err(|_| CryptoError::KeyLength)
    }

    /// The nonce is salt | IV (RFC 5282 section 4, RFC 7634 section 2).
    fn nonce(&self, iv: &[u8]) -> Result<Nonce, CryptoError> {
        let iv: &[u8; IV_LEN] = iv.try_into().map_err(|_| CryptoError::Length)?;
        let mut nonce = [0; SALT_LEN + IV_LEN];
        nonce[..SALT_LEN].copy_from_slice(&*self.salt);
        nonce[SALT_LEN..].copy_from_slice(iv);
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

impl SkKey for AeadKey {
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        let nonce = self.nonce(iv)?;
        let icv: &mut [u8; ICV_LEN] = icv.try_into().map_err(|_| CryptoError::Length)?;
        let tag = self.expand()?.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| CryptoError::Length)?;
        *icv = tag.as_ref().try_into().map_err(|_| CryptoError::Length)?;
        Ok(())
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        let nonce = self.nonce(iv)?;
        if icv.len() != ICV_LEN {
            return Err(CryptoError::Length);
        }
        self.expand()?.open_in_place_separate_tag(nonce, Aad::from(aad), icv, text).map_err(|_| CryptoError::Unauthentic)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
