//! Key contexts.

use alloc::boxed::Box;
use core::fmt;

use crate::aead::{self, Gmac, TruncatedGcm};
use crate::authentication::Authentication;
use crate::composed::Composed;
use crate::gcm::{self, Kernel};
use crate::mac::{Mac, MacKey};
use crate::transform::Transform;
use crate::{ICV_LEN, chacha, portable};

/// A key that its algorithm does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// For AES.
    #[error("an AES key has 16, 24 or 32 octets, not {0}")]
    Aes(usize),
    /// For 3DES.
    #[error("a 3DES key has 24 octets, not {0}")]
    TripleDes(usize),
    /// For 3DES, of the right length.
    #[error("this 3DES key is one of DES")]
    TripleDesIsDes,
    /// For ChaCha20.
    #[error("a ChaCha20 key has 32 octets, not {0}")]
    ChaCha20(usize),
    /// Of the ICV of an AEAD.
    #[error("an ICV has 8, 12 or 16 octets, not {0}")]
    Icv(usize),
    /// For the integrity algorithm.
    #[error("this integrity algorithm takes a key of {expected} octets, not {actual}")]
    Integrity {
        /// Octets it takes.
        expected: usize,
        /// Octets there were.
        actual: usize,
    },
}

/// A cipher that takes its integrity from a [`MacKey`], with its key.
#[derive(Clone, Copy)]
pub enum CipherKey<'a> {
    /// NULL (RFC 2410): nothing is encrypted.
    Null,
    /// AES-CBC (RFC 3602), 16, 24 or 32 octets. The IV is part of the data.
    AesCbc(&'a [u8]),
    /// 3DES-CBC (RFC 2451), 24 octets. The IV is part of the data.
    TripleDesCbc(&'a [u8]),
    /// AES-CTR (RFC 3686), 16, 24 or 32 octets. The IV is part of the data, and once more of the nonce.
    AesCtr(&'a [u8]),
}

impl fmt::Debug for CipherKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::AesCbc(_) => "AesCbc",
            Self::TripleDesCbc(_) => "TripleDesCbc",
            Self::AesCtr(_) => "AesCtr",
        })
    }
}

/// A key with everything that can be computed ahead, salt not included. Made off the hot path; zeroed when dropped; never printed, never cloned.
pub struct AeadKey(pub(crate) Algorithm);

/// What a job is done with.
#[expect(clippy::large_enum_variant, reason = "room for a ChaCha20 key is worth less than one pointer more to follow for each AES packet")]
pub(crate) enum Algorithm {
    /// With round keys and powers of H.
    AesGcm(gcm::Key),
    ChaCha20Poly1305(chacha::Key),
    /// The others, behind a pointer: they leave the size of the first alone.
    Other(Box<dyn Transform>),
}

impl AeadKey {
    /// Expands an AES-GCM key of 128, 192 or 256 bits for the fastest kernel of this machine.
    ///
    /// # Errors
    /// [`KeyError`] for any but 16, 24 or 32 octets.
    pub fn aes_gcm(key: &[u8]) -> Result<Self, KeyError> {
        Self::aes_gcm_for(Kernel::best(), key)
    }

    /// Expands an AES-GCM key of 128, 192 or 256 bits for `kernel`, or for the portable one where this machine does not run it ([`Kernel::checked`]).
    ///
    /// # Errors
    /// [`KeyError`] for any but 16, 24 or 32 octets.
    pub fn aes_gcm_for(kernel: Kernel, key: &[u8]) -> Result<Self, KeyError> {
        gcm::Key::new(kernel, key).map(|key| Self(Algorithm::AesGcm(key))).ok_or(KeyError::Aes(key.len()))
    }

    /// Expands an AES-GCM key of 128, 192 or 256 bits for ICVs of 8, 12 or 16 octets (RFC 4106 section 6).
    ///
    /// # Errors
    /// [`KeyError`] for any other length of key or ICV.
    pub fn aes_gcm_with_icv(key: &[u8], icv_len: usize) -> Result<Self, KeyError> {
        match icv_len {
            ICV_LEN => Self::aes_gcm(key),
            8 | 12 => {
                let expanded = portable::Key::new(key).ok_or(KeyError::Aes(key.len()))?;
                Ok(Self(Algorithm::Other(Box::new(TruncatedGcm::new(expanded, icv_len)))))
            }
            _ => Err(KeyError::Icv(icv_len)),
        }
    }

    /// Expands an AES-CCM key of 128, 192 or 256 bits for ICVs of 8, 12 or 16 octets (RFC 4309). The first octet of a job's nonce is not used.
    ///
    /// # Errors
    /// [`KeyError`] for any other length of key or ICV.
    pub fn aes_ccm(key: &[u8], icv_len: usize) -> Result<Self, KeyError> {
        if !matches!(icv_len, 8 | 12 | 16) {
            return Err(KeyError::Icv(icv_len));
        }
        aead::ccm(key, icv_len).map(|key| Self(Algorithm::Other(key))).ok_or(KeyError::Aes(key.len()))
    }

    /// Expands an AES-GMAC key of 128, 192 or 256 bits (RFC 4543): nothing is encrypted. The IV is part of the data, and once more of the nonce.
    ///
    /// # Errors
    /// [`KeyError`] for any but 16, 24 or 32 octets.
    pub fn aes_gmac(key: &[u8]) -> Result<Self, KeyError> {
        let key = portable::Key::new(key).ok_or(KeyError::Aes(key.len()))?;
        Ok(Self(Algorithm::Other(Box::new(Gmac::new(key)))))
    }

    /// Takes a ChaCha20-Poly1305 key.
    ///
    /// # Errors
    /// [`KeyError`] for any but 32 octets.
    pub fn chacha20_poly1305(key: &[u8]) -> Result<Self, KeyError> {
        chacha::Key::new(key).map(|key| Self(Algorithm::ChaCha20Poly1305(key))).ok_or(KeyError::ChaCha20(key.len()))
    }

    /// Expands the keys of a cipher and of an integrity algorithm, which authenticates what the cipher made (RFC 4303 section 3.3.2.1).
    ///
    /// # Errors
    /// [`KeyError`] for either.
    pub fn encrypt_then_mac(cipher: CipherKey<'_>, mac: MacKey<'_>) -> Result<Self, KeyError> {
        Composed::new(cipher, mac).map(|composed| Self(Algorithm::Other(Box::new(composed))))
    }

    /// Takes the key of an integrity algorithm that stands alone, as AH has it (RFC 4302): nothing is encrypted. The data of a job are the whole packet,
    /// and of its AAD only the high half of an extended sequence number counts, behind the packet.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn authentication(mac: MacKey<'_>) -> Result<Self, KeyError> {
        Mac::new(mac).map(|mac| Self(Algorithm::Other(Box::new(Authentication::new(mac)))))
    }

    /// Octets of every ICV.
    #[inline]
    pub fn icv_len(&self) -> usize {
        match &self.0 {
            Algorithm::AesGcm(_) | Algorithm::ChaCha20Poly1305(_) => ICV_LEN,
            Algorithm::Other(transform) => transform.icv_len(),
        }
    }

    /// Octets of IV in front of the data of a job, authenticated with them. None for an AEAD, which authenticates its nonce. Where the nonce does not
    /// hold it, sealing writes the IV.
    #[inline]
    pub fn iv_len(&self) -> usize {
        match &self.0 {
            Algorithm::AesGcm(_) | Algorithm::ChaCha20Poly1305(_) => 0,
            Algorithm::Other(transform) => transform.iv_len(),
        }
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Algorithm::AesGcm(key) => write!(f, "AeadKey(AES-{}-GCM)", key.bits()),
            Algorithm::ChaCha20Poly1305(_) => f.write_str("AeadKey(ChaCha20-Poly1305)"),
            Algorithm::Other(transform) => write!(f, "AeadKey({transform})"),
        }
    }
}

// Nine cache lines a Security Association: what else there is has room within, or stands elsewhere.
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<AeadKey>() == 576);
