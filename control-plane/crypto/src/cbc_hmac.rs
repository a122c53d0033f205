//! AES-CBC (RFC 3602) with HMAC-SHA2 (RFC 4868) for the Encrypted payload: encrypt, then authenticate (RFC 7296 section 3.14).
//!
//! The ICV covers everything from the IKE header to the end of the ciphertext: `aad | IV | ciphertext`.

use aes::cipher::inout::InOutBuf;
use aes::cipher::typenum::U16;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use cbc::{Decryptor, Encryptor};
use ike::provider::{CryptoError, IvKind, SkKey, SkSuite};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm};
use zeroize::ZeroizeOnDrop;

use crate::hmac::IntegrityKey;

/// Names one static per pair.
macro_rules! suites {
    ($($(#[$doc:meta])* $name:ident = $encryption:ident, $integrity:ident;)*) => {
        $($(#[$doc])* pub(crate) static $name: AesCbcHmac =
            AesCbcHmac { encryption: EncryptionAlgorithm::$encryption, integrity: IntegrityAlgorithm::$integrity };)*
    };
}

suites! {
    /// AES-CBC-128 with HMAC-SHA2-256-128.
    AES_CBC_128_SHA2_256 = AesCbc128, HmacSha256;
    /// AES-CBC-128 with HMAC-SHA2-384-192.
    AES_CBC_128_SHA2_384 = AesCbc128, HmacSha384;
    /// AES-CBC-128 with HMAC-SHA2-512-256.
    AES_CBC_128_SHA2_512 = AesCbc128, HmacSha512;
    /// AES-CBC-192 with HMAC-SHA2-256-128.
    AES_CBC_192_SHA2_256 = AesCbc192, HmacSha256;
    /// AES-CBC-192 with HMAC-SHA2-384-192.
    AES_CBC_192_SHA2_384 = AesCbc192, HmacSha384;
    /// AES-CBC-192 with HMAC-SHA2-512-256.
    AES_CBC_192_SHA2_512 = AesCbc192, HmacSha512;
    /// AES-CBC-256 with HMAC-SHA2-256-128.
    AES_CBC_256_SHA2_256 = AesCbc256, HmacSha256;
    /// AES-CBC-256 with HMAC-SHA2-384-192.
    AES_CBC_256_SHA2_384 = AesCbc256, HmacSha384;
    /// AES-CBC-256 with HMAC-SHA2-512-256.
    AES_CBC_256_SHA2_512 = AesCbc256, HmacSha512;
}

const BLOCK_LEN: usize = 16;

/// One key length of AES-CBC with one hash.
#[derive(Debug)]
pub(crate) struct AesCbcHmac {
    encryption: EncryptionAlgorithm,
    integrity: IntegrityAlgorithm,
}

impl SkSuite for AesCbcHmac {
    fn encryption(&self) -> EncryptionAlgorithm {
        self.encryption
    }

    fn integrity(&self) -> Option<IntegrityAlgorithm> {
        Some(self.integrity)
    }

    fn iv_len(&self) -> usize {
        BLOCK_LEN
    }

    fn iv_kind(&self) -> IvKind {
        IvKind::Unpredictable
    }

    fn icv_len(&self) -> usize {
        self.integrity.icv_len()
    }

    fn block_len(&self) -> usize {
        BLOCK_LEN
    }

    fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        let integrity = IntegrityKey::new(self.integrity, integrity)?;
        Ok(match self.encryption.key_len() {
            16 => Box::new(AesCbcHmacKey::<Aes128>::new(encryption, integrity)?),
            24 => Box::new(AesCbcHmacKey::<Aes192>::new(encryption, integrity)?),
            _ => Box::new(AesCbcHmacKey::<Aes256>::new(encryption, integrity)?),
        })
    }
}

/// Both keys of one direction. The bound is the proof that the key schedule is zeroed when dropped: it holds by a feature of `aes`.
struct AesCbcHmacKey<C: ZeroizeOnDrop> {
    cipher: C,
    integrity: IntegrityKey,
}

impl<C: KeyInit + ZeroizeOnDrop> AesCbcHmacKey<C> {
    fn new(encryption: &[u8], integrity: IntegrityKey) -> Result<Self, CryptoError> {
        Ok(Self { cipher: C::new_from_slice(encryption).map_err(|_| CryptoError::KeyLength)?, integrity })
    }
}

impl<C> SkKey for AesCbcHmacKey<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop + Send + Sync,
{
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        check_lengths(iv, text)?;
        let mut cbc = Encryptor::inner_iv_slice_init(&self.cipher, iv).map_err(|_| CryptoError::Length)?;
        cbc.encrypt_blocks_inout(InOutBuf::from(&mut *text).into_chunks().0);
        self.integrity.sign([aad, iv, text], icv)
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        check_lengths(iv, text)?;
        self.integrity.verify([aad, iv, text], icv)?;
        let mut cbc = Decryptor::inner_iv_slice_init(&self.cipher, iv).map_err(|_| CryptoError::Length)?;
        cbc.decrypt_blocks_inout(InOutBuf::from(text).into_chunks().0);
        Ok(())
    }
}

/// A whole number of blocks and at least one, which holds the Pad Length octet.
fn check_lengths(iv: &[u8], text: &[u8]) -> Result<(), CryptoError> {
    if iv.len() != BLOCK_LEN || text.is_empty() || !text.len().is_multiple_of(BLOCK_LEN) {
        return Err(CryptoError::Length);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
