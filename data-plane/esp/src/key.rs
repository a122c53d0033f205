//! Keys as IKE derives them.

use core::fmt;

use esp_crypto::{AeadKey, CipherKey, ICV_LEN, Kernel, MacKey};
use ipsec_types::{CipherMode, EncryptionAlgorithm, IntegrityAlgorithm, Protection, SaKeys, Secret, SequenceNumbers, Spi};

use crate::Layout;
use crate::facts::SaFacts;

/// Octets of salt in front of the IV in a nonce (RFC 3686 section 4, RFC 4106 section 4, RFC 7634 section 2).
pub(crate) const SALT_LEN: usize = 4;

/// Why keying material is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeymatError {
    /// A cipher that is no AEAD, without an integrity algorithm or its key.
    #[error("{0} needs an integrity algorithm and its key")]
    NoIntegrity(EncryptionAlgorithm),
    /// An AEAD with an integrity algorithm or a key of one.
    #[error("{0} takes no integrity algorithm")]
    IntegrityWithAead(EncryptionAlgorithm),
    /// Keying material that the algorithm must refuse (3DES: RFC 2451 section 2.3).
    #[error("this key of {0} is a weak one")]
    Weak(EncryptionAlgorithm),
    /// AH without an integrity key, or with a key for a cipher.
    #[error("AH takes a key for {0} and no other")]
    AhKeys(IntegrityAlgorithm),
    /// Too few or too many octets.
    #[error("{algorithm} takes {} octets of keying material, not {actual}", algorithm.keymat_len())]
    Length {
        /// The algorithm.
        algorithm: EncryptionAlgorithm,
        /// Octets there were.
        actual: usize,
    },
    /// Too few or too many octets of integrity key.
    #[error("{algorithm} takes a key of {} octets, not {actual}", algorithm.key_len())]
    IntegrityLength {
        /// The algorithm.
        algorithm: IntegrityAlgorithm,
        /// Octets there were.
        actual: usize,
    },
}

/// The key context and the salt of one SA. The context is zeroed when dropped; the salt is no secret (RFC 4106 section 10 discusses why).
pub struct SaKey {
    key: AeadKey,
    salt: [u8; SALT_LEN],
    layout: Layout,
}

impl SaKey {
    /// Expands the keys of any kind of SA: an AEAD alone, a cipher with an integrity algorithm, or an integrity algorithm alone. AES-GCM is for the
    /// fastest kernel of this machine.
    ///
    /// # Errors
    /// [`KeymatError`].
    pub fn new(protection: Protection, keys: &SaKeys) -> Result<Self, KeymatError> {
        Self::for_kernel(Kernel::best(), protection, keys)
    }

    /// The same with another kernel for AES-GCM with its whole ICV.
    ///
    /// # Errors
    /// [`KeymatError`].
    pub fn for_kernel(kernel: Kernel, protection: Protection, keys: &SaKeys) -> Result<Self, KeymatError> {
        let (encryption, integrity) = match protection {
            Protection::Esp { encryption, integrity } => (encryption, integrity),
            Protection::Ah { integrity } => return Self::authentication(integrity, keys),
        };
        match (integrity, &keys.integrity) {
            (None, None) => Self::aead(kernel, encryption, &keys.encryption),
            (Some(_), _) | (_, Some(_)) if encryption.is_aead() => Err(KeymatError::IntegrityWithAead(encryption)),
            (Some(integrity), Some(key)) => Self::composed(encryption, &keys.encryption, integrity, key),
            (Some(_), None) | (None, Some(_)) => Err(KeymatError::NoIntegrity(encryption)),
        }
    }

    /// Expands keying material of an AEAD: the cipher key followed by the salt (RFC 4106 section 8.1, RFC 4309 section 7.1, RFC 7634
    /// section 2).
    ///
    /// # Errors
    /// [`KeymatError`] for an algorithm that is no AEAD, or a wrong length.
    pub fn from_keymat(algorithm: EncryptionAlgorithm, keymat: &Secret) -> Result<Self, KeymatError> {
        Self::aead(Kernel::best(), algorithm, keymat)
    }

    fn aead(kernel: Kernel, algorithm: EncryptionAlgorithm, keymat: &Secret) -> Result<Self, KeymatError> {
        let (Some(icv_len), mode) = (algorithm.aead_icv_len(), algorithm.mode()) else { return Err(KeymatError::NoIntegrity(algorithm)) };
        let (key, salt) = key_and_salt(algorithm, keymat)?;
        let key = match mode {
            CipherMode::Gcm if icv_len == ICV_LEN => AeadKey::aes_gcm_for(kernel, key),
            CipherMode::Gcm => AeadKey::aes_gcm_with_icv(key, icv_len),
            CipherMode::Ccm => AeadKey::aes_ccm(key, icv_len),
            CipherMode::Gmac => AeadKey::aes_gmac(key),
            CipherMode::ChaCha20Poly1305 => AeadKey::chacha20_poly1305(key),
            CipherMode::Null | CipherMode::Cbc | CipherMode::TripleDesCbc | CipherMode::Ctr => {
                return Err(KeymatError::NoIntegrity(algorithm));
            }
        };
        let key = key.map_err(|_| KeymatError::Length { algorithm, actual: keymat.len() })?;
        Ok(Self { key, salt, layout: Layout::new(Protection::Esp { encryption: algorithm, integrity: None }) })
    }

    fn composed(
        encryption: EncryptionAlgorithm,
        keymat: &Secret,
        integrity: IntegrityAlgorithm,
        integrity_key: &Secret,
    ) -> Result<Self, KeymatError> {
        let (key, salt) = key_and_salt(encryption, keymat)?;
        let mac = mac_key(integrity, integrity_key)?;
        let cipher = match encryption.mode() {
            CipherMode::Null => CipherKey::Null,
            CipherMode::Cbc => CipherKey::AesCbc(key),
            CipherMode::TripleDesCbc => CipherKey::TripleDesCbc(key),
            CipherMode::Ctr => CipherKey::AesCtr(key),
            CipherMode::Ccm | CipherMode::Gcm | CipherMode::Gmac | CipherMode::ChaCha20Poly1305 => {
                return Err(KeymatError::IntegrityWithAead(encryption));
            }
        };
        // Both lengths are right: one fault is left.
        let key = AeadKey::encrypt_then_mac(cipher, mac).map_err(|_| KeymatError::Weak(encryption))?;
        Ok(Self { key, salt, layout: Layout::new(Protection::Esp { encryption, integrity: Some(integrity) }) })
    }

    fn authentication(integrity: IntegrityAlgorithm, keys: &SaKeys) -> Result<Self, KeymatError> {
        let key = keys.integrity.as_ref().filter(|_| keys.encryption.is_empty()).ok_or(KeymatError::AhKeys(integrity))?;
        let wrong_length = KeymatError::IntegrityLength { algorithm: integrity, actual: key.len() };
        let key = AeadKey::authentication(mac_key(integrity, key)?).map_err(|_| wrong_length)?;
        Ok(Self { key, salt: [0; SALT_LEN], layout: Layout::new(Protection::Ah { integrity }) })
    }

    /// The context, and what else is the same for all packets of an SA.
    pub(crate) fn for_sa(self, spi: Spi, numbers: SequenceNumbers) -> (AeadKey, SaFacts) {
        (self.key, SaFacts::new(spi, self.salt, numbers, self.layout))
    }

    #[cfg(test)]
    pub(crate) const fn context(&self) -> &AeadKey {
        &self.key
    }
}

impl fmt::Debug for SaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.key, f)
    }
}

fn mac_key(algorithm: IntegrityAlgorithm, key: &Secret) -> Result<MacKey<'_>, KeymatError> {
    if key.len() != algorithm.key_len() {
        return Err(KeymatError::IntegrityLength { algorithm, actual: key.len() });
    }
    let mac = match algorithm {
        IntegrityAlgorithm::HmacMd5 => MacKey::HmacMd5,
        IntegrityAlgorithm::HmacSha1 => MacKey::HmacSha1,
        IntegrityAlgorithm::HmacSha256 => MacKey::HmacSha256,
        IntegrityAlgorithm::HmacSha384 => MacKey::HmacSha384,
        IntegrityAlgorithm::HmacSha512 => MacKey::HmacSha512,
        IntegrityAlgorithm::AesXcbc => MacKey::AesXcbc,
        IntegrityAlgorithm::AesCmac => MacKey::AesCmac,
    };
    Ok(mac(key.expose()))
}

/// The cipher key, and the salt behind it: the first octets of a nonce's salt are zero where the algorithm has a shorter one.
fn key_and_salt(algorithm: EncryptionAlgorithm, keymat: &Secret) -> Result<(&[u8], [u8; SALT_LEN]), KeymatError> {
    let wrong_length = KeymatError::Length { algorithm, actual: keymat.len() };
    if keymat.len() != algorithm.keymat_len() {
        return Err(wrong_length);
    }
    let (key, short) = keymat.expose().split_at_checked(algorithm.key_len()).ok_or(wrong_length)?;
    let mut salt = [0; SALT_LEN];
    salt.iter_mut().rev().zip(short.iter().rev()).for_each(|(octet, of_keymat)| *octet = *of_keymat);
    Ok((key, salt))
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
        assert_eq!(format!("{key:?}"), "AeadKey(AES-128-GCM)");
        let (_, facts) = key.for_sa(Spi::new(256).unwrap(), SequenceNumbers::Standard);
        assert_eq!(facts.nonce([1; 8]), [16, 17, 18, 19, 1, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn each_algorithm_takes_its_own_length() {
        for &algorithm in EncryptionAlgorithm::ALL {
            for len in 0..40 {
                let result = SaKey::from_keymat(algorithm, &Secret::new(vec![0; len]));
                match result {
                    Ok(_) => assert!(algorithm.is_aead() && len == algorithm.keymat_len()),
                    Err(KeymatError::NoIntegrity(_)) => assert!(!algorithm.is_aead()),
                    Err(KeymatError::Length { actual, .. }) => assert!(actual == len && len != algorithm.keymat_len()),
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn integrity_goes_with_what_is_no_aead_and_takes_its_own_length() {
        for &encryption in EncryptionAlgorithm::ALL {
            for &integrity in IntegrityAlgorithm::ALL {
                let keys = |encryption_len, integrity_len| SaKeys {
                    encryption: Secret::new((0..).take(encryption_len).collect()),
                    integrity: Some(Secret::new(vec![2; integrity_len])),
                };
                let (e, i) = (encryption.keymat_len(), integrity.key_len());
                let made = |keys: &SaKeys| SaKey::new(Protection::Esp { encryption, integrity: Some(integrity) }, keys).map(|_| ());
                if encryption.is_aead() {
                    assert_eq!(made(&keys(e, i)), Err(KeymatError::IntegrityWithAead(encryption)));
                    continue;
                }
                assert_eq!(made(&keys(e, i)), Ok(()));
                assert_eq!(made(&keys(e + 1, i)), Err(KeymatError::Length { algorithm: encryption, actual: e + 1 }));
                assert_eq!(made(&keys(e, i - 1)), Err(KeymatError::IntegrityLength { algorithm: integrity, actual: i - 1 }));
                let alone = SaKeys { integrity: None, ..keys(e, 0) };
                assert_eq!(made(&alone), Err(KeymatError::NoIntegrity(encryption)));
                let without = Protection::Esp { encryption, integrity: None };
                assert_eq!(SaKey::new(without, &alone).map(|_| ()), Err(KeymatError::NoIntegrity(encryption)));
            }
        }
    }

    #[test]
    fn a_key_of_3des_that_is_one_of_des_is_refused() {
        let keys = SaKeys { encryption: Secret::new(vec![2; 24]), integrity: Some(Secret::new(vec![2; 16])) };
        let protection = Protection::Esp { encryption: EncryptionAlgorithm::TripleDes, integrity: Some(IntegrityAlgorithm::AesXcbc) };
        let refused = SaKey::new(protection, &keys).map(|_| ());
        assert_eq!(refused, Err(KeymatError::Weak(EncryptionAlgorithm::TripleDes)));
    }

    #[test]
    fn ah_takes_an_integrity_key_alone() {
        for &integrity in IntegrityAlgorithm::ALL {
            let made = |encryption: &[u8], integrity_len: Option<usize>| {
                let integrity_key = integrity_len.map(|len| Secret::new(vec![2; len]));
                let keys = SaKeys { encryption: Secret::copy_from(encryption), integrity: integrity_key };
                SaKey::new(Protection::Ah { integrity }, &keys)
            };
            let len = integrity.key_len();
            let key = made(&[], Some(len)).unwrap();
            assert_eq!((key.layout.icv_len(), key.layout.iv_len()), (key.context().icv_len(), key.context().iv_len()));
            let wrong = KeymatError::IntegrityLength { algorithm: integrity, actual: len - 1 };
            assert_eq!(made(&[], Some(len - 1)).map(|_| ()), Err(wrong));
            assert_eq!(made(&[], None).map(|_| ()), Err(KeymatError::AhKeys(integrity)));
            assert_eq!(made(&[1], Some(len)).map(|_| ()), Err(KeymatError::AhKeys(integrity)));
        }
    }

    #[test]
    fn the_layout_is_that_of_the_expanded_key() {
        for &encryption in EncryptionAlgorithm::ALL {
            let integrity = (!encryption.is_aead()).then_some(IntegrityAlgorithm::HmacSha512);
            let keys = SaKeys {
                encryption: Secret::new((0..).take(encryption.keymat_len()).collect()),
                integrity: integrity.map(|integrity| Secret::new(vec![2; integrity.key_len()])),
            };
            let key = SaKey::new(Protection::Esp { encryption, integrity }, &keys).unwrap();
            assert_eq!((key.layout.icv_len(), key.layout.iv_in_data()), (key.context().icv_len(), key.context().iv_len()));
        }
    }
}
