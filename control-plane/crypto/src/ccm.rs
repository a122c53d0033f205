//! AES-CCM with a 16-octet ICV (RFC 5282) for the Encrypted payload.

use aes::cipher::typenum::{U11, U16};
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use ccm::aead::AeadInOut;
use ccm::{Ccm, Nonce, Tag};
use ike::provider::{CryptoError, IvKind, SkKey, SkSuite};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// AES-CCM with a key of 128 bits.
pub(crate) static AES_CCM_128: AesCcm = AesCcm(EncryptionAlgorithm::AesCcm16Icv128);
/// AES-CCM with a key of 192 bits.
pub(crate) static AES_CCM_192: AesCcm = AesCcm(EncryptionAlgorithm::AesCcm16Icv192);
/// AES-CCM with a key of 256 bits.
pub(crate) static AES_CCM_256: AesCcm = AesCcm(EncryptionAlgorithm::AesCcm16Icv256);

const SALT_LEN: usize = 3;
const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;

/// AES-CCM with one key length.
#[derive(Debug)]
pub(crate) struct AesCcm(EncryptionAlgorithm);

impl SkSuite for AesCcm {
    fn encryption(&self) -> EncryptionAlgorithm {
        self.0
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
        if !integrity.is_empty() {
            return Err(CryptoError::KeyLength);
        }
        Ok(match self.0.key_len() {
            16 => Box::new(CcmKey::<Aes128>::new(encryption)?),
            24 => Box::new(CcmKey::<Aes192>::new(encryption)?),
            _ => Box::new(CcmKey::<Aes256>::new(encryption)?),
        })
    }
}

/// Key and salt of one direction. The bound is the proof that the key schedule is zeroed when dropped: it holds by a feature of `aes`.
struct CcmKey<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop> {
    key: Ccm<C, U16, U11>,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + ZeroizeOnDrop> CcmKey<C> {
    fn new(keymat: &[u8]) -> Result<Self, CryptoError> {
        let (key, salt) = keymat.split_last_chunk::<SALT_LEN>().ok_or(CryptoError::KeyLength)?;
        let key = Ccm::new_from_slice(key).map_err(|_| CryptoError::KeyLength)?;
        Ok(Self { key, salt: Zeroizing::new(*salt) })
    }
}

impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop> CcmKey<C> {
    /// The nonce is salt | IV (RFC 5282 section 4).
    fn nonce(&self, iv: &[u8]) -> Result<Nonce<U11>, CryptoError> {
        Nonce::try_from(&*[&*self.salt, iv].concat()).map_err(|_| CryptoError::Length)
    }
}

impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop + Send + Sync> SkKey for CcmKey<C> {
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        let nonce = self.nonce(iv)?;
        let icv: &mut [u8; ICV_LEN] = icv.try_into().map_err(|_| CryptoError::Length)?;
        *icv = self.key.encrypt_inout_detached(&nonce, aad, text.into()).map_err(|_| CryptoError::Length)?.into();
        Ok(())
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        let nonce = self.nonce(iv)?;
        let tag = Tag::<U16>::try_from(icv).map_err(|_| CryptoError::Length)?;
        self.key.decrypt_inout_detached(&nonce, aad, text.into(), &tag).map_err(|_| CryptoError::Unauthentic)
    }
}

#[cfg(test)]
mod tests;
