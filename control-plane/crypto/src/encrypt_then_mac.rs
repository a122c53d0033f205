//! A cipher with an integrity algorithm for the Encrypted payload: encrypt, then authenticate (RFC 7296 section 3.14). AES-CBC (RFC 3602),
//! AES-CTR (RFC 5930) and 3DES-CBC (RFC 2451).
//!
//! The ICV covers everything from the IKE header to the end of the ciphertext: `aad | IV | ciphertext`.

use aes::cipher::inout::InOutBuf;
use aes::cipher::typenum::U16;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipherCore,
};
use aes::{Aes128, Aes192, Aes256};
use cbc::{Decryptor, Encryptor};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use des::TdesEde3;
use ike::provider::{CipherKey, CryptoError, IvKind, SkKey, SkSuite};
use ipsec_types::{CipherMode, EncryptionAlgorithm, IntegrityAlgorithm};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::mac::IntegrityKey;

/// One cipher with one integrity algorithm.
#[derive(Debug)]
pub(crate) struct EncryptThenMac {
    pub(crate) encryption: EncryptionAlgorithm,
    pub(crate) integrity: IntegrityAlgorithm,
}

impl SkSuite for EncryptThenMac {
    fn encryption(&self) -> EncryptionAlgorithm {
        self.encryption
    }

    fn integrity(&self) -> Option<IntegrityAlgorithm> {
        Some(self.integrity)
    }

    fn iv_len(&self) -> usize {
        // As in ESP (RFC 7296 section 3.14, RFC 5930 section 2).
        self.encryption.esp_iv_len()
    }

    fn iv_kind(&self) -> IvKind {
        if self.encryption.mode() == CipherMode::Ctr { IvKind::Unique } else { IvKind::Unpredictable }
    }

    fn icv_len(&self) -> usize {
        self.integrity.icv_len()
    }

    fn block_len(&self) -> usize {
        if self.encryption.mode() == CipherMode::Ctr { 1 } else { self.encryption.esp_iv_len() }
    }

    fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        let integrity = IntegrityKey::new(self.integrity, integrity)?;
        Ok(match (self.encryption.mode(), self.encryption.key_len()) {
            (CipherMode::Cbc, 16) => Box::new(Keys { cipher: Cbc::<Aes128>::new(encryption)?, integrity }),
            (CipherMode::Cbc, 24) => Box::new(Keys { cipher: Cbc::<Aes192>::new(encryption)?, integrity }),
            (CipherMode::Cbc, 32) => Box::new(Keys { cipher: Cbc::<Aes256>::new(encryption)?, integrity }),
            (CipherMode::Ctr, 16) => Box::new(Keys { cipher: Ctr::<Aes128>::new(encryption)?, integrity }),
            (CipherMode::Ctr, 24) => Box::new(Keys { cipher: Ctr::<Aes192>::new(encryption)?, integrity }),
            (CipherMode::Ctr, 32) => Box::new(Keys { cipher: Ctr::<Aes256>::new(encryption)?, integrity }),
            (CipherMode::TripleDesCbc, _) => Box::new(Keys { cipher: triple_des(encryption)?, integrity }),
            _ => return Err(CryptoError::Unavailable),
        })
    }
}

/// A cipher in CBC mode without an integrity algorithm, which IKEv1 has (RFC 2409 appendix B).
#[derive(Debug)]
pub(crate) struct BareCipher(pub(crate) EncryptionAlgorithm);

impl ike::provider::Cipher for BareCipher {
    fn encryption(&self) -> EncryptionAlgorithm {
        self.0
    }

    fn block_len(&self) -> usize {
        self.0.esp_iv_len()
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn CipherKey>, CryptoError> {
        Ok(match (self.0.mode(), self.0.key_len()) {
            (CipherMode::Cbc, 16) => Box::new(Cbc::<Aes128>::new(key)?),
            (CipherMode::Cbc, 24) => Box::new(Cbc::<Aes192>::new(key)?),
            (CipherMode::Cbc, 32) => Box::new(Cbc::<Aes256>::new(key)?),
            (CipherMode::TripleDesCbc, _) => Box::new(triple_des(key)?),
            _ => return Err(CryptoError::Unavailable),
        })
    }
}

impl<C: ZeroizeOnDrop + Send + Sync> CipherKey for Cbc<C>
where
    Self: Cipher,
{
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        Cipher::encrypt(self, iv, text)
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        Cipher::decrypt(self, iv, text)
    }
}

/// Both keys of one direction.
struct Keys<C> {
    cipher: C,
    integrity: IntegrityKey,
}

impl<C: Cipher> SkKey for Keys<C> {
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        self.cipher.encrypt(iv, text)?;
        self.integrity.sign([aad, iv, text], icv)
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        self.cipher.check_lengths(iv, text)?;
        self.integrity.verify([aad, iv, text], icv)?;
        self.cipher.decrypt(iv, text)
    }
}

/// A cipher with its key, which is zeroed when dropped.
trait Cipher: Send + Sync {
    /// [`CryptoError::Length`] unless the IV has the cipher's length and the text at least one octet, that of Pad Length, and whole blocks.
    fn check_lengths(&self, iv: &[u8], text: &[u8]) -> Result<(), CryptoError>;
    /// In place; checks lengths itself.
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError>;
    /// In place; checks lengths itself.
    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError>;
}

/// Cipher block chaining. The bound is the proof that the key schedule is zeroed when dropped: it holds by a feature of `aes` and `des`.
struct Cbc<C: ZeroizeOnDrop>(C);

impl<C: KeyInit + ZeroizeOnDrop> Cbc<C> {
    fn new(key: &[u8]) -> Result<Self, CryptoError> {
        C::new_from_slice(key).map(Self).map_err(|_| CryptoError::KeyLength)
    }
}

impl<C: BlockCipherEncrypt + BlockCipherDecrypt + ZeroizeOnDrop + Send + Sync> Cipher for Cbc<C> {
    fn check_lengths(&self, iv: &[u8], text: &[u8]) -> Result<(), CryptoError> {
        let sound = iv.len() == C::block_size() && !text.is_empty() && text.len().is_multiple_of(C::block_size());
        if sound { Ok(()) } else { Err(CryptoError::Length) }
    }

    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.check_lengths(iv, text)?;
        let mut cbc = Encryptor::inner_iv_slice_init(&self.0, iv).map_err(|_| CryptoError::Length)?;
        cbc.encrypt_blocks_inout(InOutBuf::from(text).into_chunks().0);
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.check_lengths(iv, text)?;
        let mut cbc = Decryptor::inner_iv_slice_init(&self.0, iv).map_err(|_| CryptoError::Length)?;
        cbc.decrypt_blocks_inout(InOutBuf::from(text).into_chunks().0);
        Ok(())
    }
}

/// Three keys, of which two equal ones in a row would leave DES and must be refused (RFC 2451 section 2.3). The lowest bit of an octet is
/// parity: the cipher passes over it.
fn triple_des(key: &[u8]) -> Result<Cbc<TdesEde3>, CryptoError> {
    let cipher = Cbc::new(key)?;
    let same = |(a, b): (&[u8; 8], &[u8; 8])| a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b) & 0xfe) == 0;
    let (keys, _) = key.as_chunks::<8>();
    if keys.iter().zip(keys.iter().skip(1)).any(same) { Err(CryptoError::WeakKey) } else { Ok(cipher) }
}

/// Octets of the nonce of AES-CTR, which follow its key in SK_e (RFC 5930 section 3).
const NONCE_LEN: usize = 4;
/// Octets of its IV.
const IV_LEN: usize = 8;

/// Counter mode: the counter block is nonce | IV | counter, which begins with 1 (RFC 5930 section 2, RFC 3686 section 4).
struct Ctr<C: ZeroizeOnDrop> {
    cipher: C,
    nonce: Zeroizing<[u8; NONCE_LEN]>,
}

impl<C: KeyInit + ZeroizeOnDrop> Ctr<C> {
    fn new(keymat: &[u8]) -> Result<Self, CryptoError> {
        let (key, nonce) = keymat.split_last_chunk::<NONCE_LEN>().ok_or(CryptoError::KeyLength)?;
        let cipher = C::new_from_slice(key).map_err(|_| CryptoError::KeyLength)?;
        Ok(Self { cipher, nonce: Zeroizing::new(*nonce) })
    }
}

impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop + Send + Sync> Cipher for Ctr<C> {
    fn check_lengths(&self, iv: &[u8], text: &[u8]) -> Result<(), CryptoError> {
        if iv.len() == IV_LEN && !text.is_empty() { Ok(()) } else { Err(CryptoError::Length) }
    }

    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.check_lengths(iv, text)?;
        let first = [&*self.nonce, iv, &[0, 0, 0, 1]].concat();
        let stream = CtrCore::<_, Ctr32BE>::inner_iv_slice_init(&self.cipher, &first).map_err(|_| CryptoError::Length)?;
        stream.try_apply_keystream_partial(text.into()).map_err(|_| CryptoError::Length)
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt(iv, text)
    }
}

#[cfg(test)]
mod tests;
