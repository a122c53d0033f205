//! A cipher and an integrity algorithm: encrypt, then authenticate (RFC 4303 section 3.3.2.1).
//!
//! ```text
//!  SPI, seq | IV, ciphertext | high half of seq, with ESN       authenticated
//!           |<--- data ----->|
//! ```

use core::fmt;

use aes::cipher::inout::InOutBuf;
use aes::cipher::typenum::U16;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit};
use cbc::{Decryptor, Encryptor};
use zeroize::Zeroizing;

use crate::mac::{Mac, MacKey};
use crate::portable::{self, Block, Cipher, Keystream};
use crate::transform::Transform;
use crate::{Aad, CipherKey, KeyLengthError, NONCE_LEN};

/// Octets of a block of AES, and of the IV of CBC (RFC 3602 section 3).
const BLOCK_LEN: usize = 16;

/// Both keys.
pub(crate) struct Composed {
    mode: Mode,
    mac: Mac,
}

#[expect(clippy::large_enum_variant, reason = "one to a key, which is behind a pointer")]
enum Mode {
    Null,
    Cbc { cipher: Cipher, iv: Cipher },
    Ctr(Cipher),
}

impl Composed {
    pub(crate) fn new(cipher: CipherKey<'_>, mac: MacKey<'_>) -> Result<Self, KeyLengthError> {
        let mac = Mac::new(mac)?;
        let expand = |key: &[u8]| Cipher::new(key).ok_or(KeyLengthError::Aes(key.len()));
        let mode = match cipher {
            CipherKey::Null => Mode::Null,
            CipherKey::AesCbc(key) => Mode::Cbc { cipher: expand(key)?, iv: iv_cipher(&mac)? },
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
            Mode::Ctr(_) => portable::IV_LEN,
        }
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], stream: &mut Keystream) {
        match &self.mode {
            Mode::Null => {}
            Mode::Cbc { cipher, iv } => seal_cbc(cipher, iv, nonce, data),
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
            Mode::Cbc { cipher, .. } => open_cbc(cipher, data),
            Mode::Ctr(cipher) => data.get_mut(portable::IV_LEN..).map(|data| portable::ctr(cipher, nonce, data, stream)).is_some(),
        }
    }
}

impl fmt::Display for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mode {
            Mode::Null => f.write_str("NULL")?,
            Mode::Cbc { cipher, .. } => write!(f, "AES-{}-CBC", cipher.bits())?,
            Mode::Ctr(cipher) => write!(f, "AES-{}-CTR", cipher.bits())?,
        }
        write!(f, " with {}", self.mac.name())
    }
}

/// The cipher that makes IVs. An IV of CBC must not be predictable (RFC 3602 section 3): it is the sequence number under the forward cipher (NIST
/// SP 800-38A appendix C), and under a key of its own, as whoever chooses plaintexts could compute it under that of the data.
///
/// The key is the first output of the integrity algorithm for octets that begin with SPI 0, which no packet has (RFC 4303 section 2.1): nobody ever sees
/// that output, and nobody without the integrity key can tell it from random octets.
fn iv_cipher(mac: &Mac) -> Result<Cipher, KeyLengthError> {
    let mut key = Zeroizing::new([0; BLOCK_LEN]);
    mac.sign([&[0; 4], b"key of the IVs", &[]], &mut *key);
    Cipher::new(&*key).ok_or(KeyLengthError::Aes(key.len()))
}

/// Writes the IV and encrypts what is behind it, a whole number of blocks.
fn seal_cbc(cipher: &Cipher, iv_cipher: &Cipher, nonce: &[u8; NONCE_LEN], data: &mut [u8]) {
    let Some((iv, blocks)) = data.split_at_mut_checked(BLOCK_LEN) else { return };
    let mut first = [Block::default()];
    let [block] = &mut first;
    block.iter_mut().skip(BLOCK_LEN - NONCE_LEN).zip(nonce).for_each(|(octet, of_nonce)| *octet = *of_nonce);
    iv_cipher.encrypt(&mut first);
    let [block] = &first;
    iv.copy_from_slice(block);
    if !blocks.len().is_multiple_of(BLOCK_LEN) {
        // No job of ESP has such data. Should that ever change, no octet of them leaves.
        blocks.fill(0);
        return;
    }
    match cipher {
        Cipher::Aes128(aes) => encrypt_blocks(aes, block, blocks),
        Cipher::Aes192(aes) => encrypt_blocks(aes, block, blocks),
        Cipher::Aes256(aes) => encrypt_blocks(aes, block, blocks),
    }
}

fn encrypt_blocks<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(aes: &C, iv: &Block, blocks: &mut [u8]) {
    Encryptor::inner_iv_init(aes, iv).encrypt_blocks_inout(InOutBuf::from(blocks).into_chunks().0);
}

/// Decrypts what is behind the IV; false where that is no whole number of blocks.
fn open_cbc(cipher: &Cipher, data: &mut [u8]) -> bool {
    let Some((iv, blocks)) = data.split_at_mut_checked(BLOCK_LEN) else { return false };
    let Ok(iv) = Block::try_from(&*iv) else { return false };
    if !blocks.len().is_multiple_of(BLOCK_LEN) {
        return false;
    }
    match cipher {
        Cipher::Aes128(aes) => decrypt_blocks(aes, &iv, blocks),
        Cipher::Aes192(aes) => decrypt_blocks(aes, &iv, blocks),
        Cipher::Aes256(aes) => decrypt_blocks(aes, &iv, blocks),
    }
    true
}

fn decrypt_blocks<C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>>(aes: &C, iv: &Block, blocks: &mut [u8]) {
    Decryptor::inner_iv_init(aes, iv).decrypt_blocks_inout(InOutBuf::from(blocks).into_chunks().0);
}

#[cfg(test)]
mod tests;
