//! A cipher and an integrity algorithm: encrypt, then authenticate (RFC 4303 section 3.3.2.1).
//!
//! ```text
//!  SPI, seq | IV, ciphertext | high half of seq, with ESN       authenticated
//!           |<--- data ----->|
//! ```

use core::fmt;

use aes::cipher::inout::InOutBuf;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit, KeyInit};
use cbc::{Decryptor, Encryptor};
use des::TdesEde3;
use zeroize::Zeroizing;

use crate::mac::{Mac, MacKey};
use crate::portable::{self, Block, Cipher, Keystream};
use crate::transform::Transform;
use crate::{Aad, CipherKey, KeyError, NONCE_LEN};

/// Octets of a block of AES, and of the IV of its CBC (RFC 3602 section 3).
const BLOCK_LEN: usize = 16;

/// Both keys.
pub(crate) struct Composed {
    mode: Mode,
    mac: Mac,
}

enum Mode {
    Null,
    Cbc { cipher: Cipher, iv: Cipher },
    TripleDesCbc { cipher: TdesEde3, iv: Cipher },
    Ctr(Cipher),
}

impl Composed {
    pub(crate) fn new(cipher: CipherKey<'_>, mac: MacKey<'_>) -> Result<Self, KeyError> {
        let mac = Mac::new(mac)?;
        let expand = |key: &[u8]| Cipher::new(key).ok_or(KeyError::Aes(key.len()));
        let mode = match cipher {
            CipherKey::Null => Mode::Null,
            CipherKey::AesCbc(key) => Mode::Cbc { cipher: expand(key)?, iv: iv_cipher(&mac)? },
            CipherKey::TripleDesCbc(key) => Mode::TripleDesCbc { cipher: triple_des(key)?, iv: iv_cipher(&mac)? },
            CipherKey::AesCtr(key) => Mode::Ctr(expand(key)?),
        };
        Ok(Self { mode, mac })
    }

    /// The ICV covers the packet from the SPI on.
    fn with_covered<T>(aad: &Aad, data: &[u8], compute: impl FnOnce([&[u8]; 3]) -> T) -> T {
        let (head, high) = aad.around_packet();
        compute([&head, data, high])
    }
}

impl Transform for Composed {
    fn icv_len(&self) -> usize {
        self.mac.icv_len()
    }

    fn iv_len(&self) -> usize {
        match self.mode {
            Mode::Null => 0,
            Mode::Cbc { .. } => BLOCK_LEN,
            Mode::TripleDesCbc { .. } => TdesEde3::block_size(),
            Mode::Ctr(_) => portable::IV_LEN,
        }
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], stream: &mut Keystream) {
        match &self.mode {
            Mode::Null => {}
            Mode::Cbc { cipher, iv } => {
                let iv = unpredictable(iv, nonce);
                match cipher {
                    Cipher::Aes128(aes) => seal_cbc(aes, &iv, data),
                    Cipher::Aes192(aes) => seal_cbc(aes, &iv, data),
                    Cipher::Aes256(aes) => seal_cbc(aes, &iv, data),
                }
            }
            Mode::TripleDesCbc { cipher, iv } => seal_cbc(cipher, &unpredictable(iv, nonce), data),
            Mode::Ctr(cipher) => {
                portable::write_iv(nonce, data);
                if let Some(data) = data.get_mut(portable::IV_LEN..) {
                    portable::ctr(cipher, nonce, data, stream);
                }
            }
        }
        Self::with_covered(aad, data, |covered| self.mac.sign(covered, icv));
    }

    fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool {
        if !Self::with_covered(aad, data, |covered| self.mac.verify(covered, icv)) {
            return false;
        }
        match &self.mode {
            Mode::Null => true,
            Mode::Cbc { cipher, .. } => match cipher {
                Cipher::Aes128(aes) => open_cbc(aes, data),
                Cipher::Aes192(aes) => open_cbc(aes, data),
                Cipher::Aes256(aes) => open_cbc(aes, data),
            },
            Mode::TripleDesCbc { cipher, .. } => open_cbc(cipher, data),
            Mode::Ctr(cipher) => data.get_mut(portable::IV_LEN..).map(|data| portable::ctr(cipher, nonce, data, stream)).is_some(),
        }
    }
}

impl fmt::Display for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mode {
            Mode::Null => f.write_str("NULL")?,
            Mode::Cbc { cipher, .. } => write!(f, "AES-{}-CBC", cipher.bits())?,
            Mode::TripleDesCbc { .. } => f.write_str("3DES-CBC")?,
            Mode::Ctr(cipher) => write!(f, "AES-{}-CTR", cipher.bits())?,
        }
        write!(f, " with {}", self.mac.name())
    }
}

/// Of three keys, two equal ones in a row would leave DES, and must be refused (RFC 2451 section 2.3). The lowest bit of an octet is parity: the cipher
/// passes over it.
fn triple_des(key: &[u8]) -> Result<TdesEde3, KeyError> {
    let cipher = TdesEde3::new_from_slice(key).map_err(|_| KeyError::TripleDes(key.len()))?;
    let same = |(a, b): (&[u8; 8], &[u8; 8])| a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b) & 0xfe) == 0;
    let (keys, _) = key.as_chunks::<8>();
    if keys.iter().zip(keys.iter().skip(1)).any(same) { Err(KeyError::TripleDesIsDes) } else { Ok(cipher) }
}

/// The cipher that makes IVs. An IV of CBC must not be predictable (RFC 3602 section 3): it is the sequence number under the forward cipher (NIST
/// SP 800-38A appendix C), and under a key of its own, as whoever chooses plaintexts could compute it under that of the data.
///
/// The key is the first output of the integrity algorithm for octets that begin with SPI 0, which no packet has (RFC 4303 section 2.1): nobody ever sees
/// that output, and nobody without the integrity key can tell it from random octets.
fn iv_cipher(mac: &Mac) -> Result<Cipher, KeyError> {
    let mut key = Zeroizing::new([0; BLOCK_LEN]);
    mac.sign([&[0; 4], b"key of the IVs", &[]], &mut *key);
    Cipher::new(&*key).ok_or(KeyError::Aes(key.len()))
}

/// The nonce under the cipher that makes IVs; 3DES takes the first half of it.
fn unpredictable(iv_cipher: &Cipher, nonce: &[u8; NONCE_LEN]) -> Block {
    let mut only = [Block::default()];
    let [block] = &mut only;
    block.iter_mut().skip(BLOCK_LEN - NONCE_LEN).zip(nonce).for_each(|(octet, of_nonce)| *octet = *of_nonce);
    iv_cipher.encrypt(&mut only);
    let [block] = only;
    block
}

/// Writes the IV and encrypts what is behind it, a whole number of blocks.
fn seal_cbc<C: BlockCipherEncrypt>(cipher: &C, unpredictable: &Block, data: &mut [u8]) {
    let Some((iv, blocks)) = data.split_at_mut_checked(C::block_size()) else { return };
    iv.iter_mut().zip(unpredictable).for_each(|(octet, random)| *octet = *random);
    match Encryptor::inner_iv_slice_init(cipher, iv) {
        Ok(mut cbc) if blocks.len().is_multiple_of(C::block_size()) => cbc.encrypt_blocks_inout(InOutBuf::from(blocks).into_chunks().0),
        // No job of ESP has such data. Should that ever change, no octet of them leaves.
        _ => blocks.fill(0),
    }
}

/// Decrypts what is behind the IV; false where that is no whole number of blocks.
fn open_cbc<C: BlockCipherDecrypt>(cipher: &C, data: &mut [u8]) -> bool {
    let Some((iv, blocks)) = data.split_at_mut_checked(C::block_size()) else { return false };
    match Decryptor::inner_iv_slice_init(cipher, iv) {
        Ok(mut cbc) if blocks.len().is_multiple_of(C::block_size()) => {
            cbc.decrypt_blocks_inout(InOutBuf::from(blocks).into_chunks().0);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
