//! Keys of this kernel.

use core::fmt;

use zeroize::Zeroize;

use super::stream::{self, Sums};
use super::{BLOCK, Token, Width};
use crate::tag::is_tag;
use crate::x86::key_schedule::{self, ROUND_KEYS, Size, octets_of};
use crate::{Aad, ICV_LEN, NONCE_LEN};

/// What the last vectors of a packet may need: 16 blocks, with the AAD before them and the lengths behind.
pub(super) const POWERS: usize = 18;

/// Powers of H and round keys: those that a short packet needs lie side by side.
#[repr(C, align(64))]
pub(crate) struct Key {
    /// H^18 first, as POLYVAL takes them.
    powers: [[u8; BLOCK]; POWERS],
    round_keys: [[u8; BLOCK]; ROUND_KEYS],
    size: Size,
    token: Token,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.powers.zeroize();
        self.round_keys.zeroize();
    }
}

impl Key {
    /// Expands a key; `None` where the length is none of AES.
    pub(crate) fn new(token: Token, key: &[u8]) -> Option<Self> {
        let size = Size::of(key)?;
        let mut expanded = Self { powers: [[0; BLOCK]; POWERS], round_keys: [[0; BLOCK]; ROUND_KEYS], size, token };
        // SAFETY: the token says that the CPU has the features: either width needs these.
        unsafe { expanded.expand(key) };
        Some(expanded)
    }

    pub(crate) const fn bits(&self) -> u32 {
        self.size.bits()
    }

    #[inline]
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8]) {
        let tag = self.crypt::<true>(nonce, aad, data);
        // A job's ICV has this length.
        if let Some(icv) = icv.first_chunk_mut() {
            *icv = tag;
        }
    }

    /// The data are deciphered while the tag is computed, and worth nothing where it is wrong.
    #[inline]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8]) -> bool {
        let tag = self.crypt::<false>(nonce, aad, data);
        icv.as_array().is_some_and(|icv| is_tag(icv, &tag))
    }

    #[inline]
    fn crypt<const SEAL: bool>(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8]) -> [u8; ICV_LEN] {
        // SAFETY: the token says that the CPU has the features of the width.
        unsafe {
            match (self.token.0, self.size) {
                (Width::Vaes, Size::Aes128) => stream::crypt_vaes::<11, SEAL>(self, nonce, aad, data),
                (Width::Vaes, Size::Aes192) => stream::crypt_vaes::<13, SEAL>(self, nonce, aad, data),
                (Width::Vaes, Size::Aes256) => stream::crypt_vaes::<15, SEAL>(self, nonce, aad, data),
                (Width::AesNi, Size::Aes128) => stream::crypt_aesni::<11, SEAL>(self, nonce, aad, data),
                (Width::AesNi, Size::Aes192) => stream::crypt_aesni::<13, SEAL>(self, nonce, aad, data),
                (Width::AesNi, Size::Aes256) => stream::crypt_aesni::<15, SEAL>(self, nonce, aad, data),
            }
        }
    }

    /// Where the round keys stand.
    #[inline]
    pub(super) const fn round_keys(&self) -> *const u8 {
        self.round_keys.as_ptr().cast()
    }

    /// Where H^`power` stands, and behind it those below and then the round keys. The pointer is one into the whole key, for `power` from 1 to [`POWERS`].
    #[inline]
    pub(super) fn powers_from(&self, power: usize) -> *const u8 {
        core::ptr::from_ref(self).cast::<u8>().wrapping_add((POWERS - power) * BLOCK)
    }

    #[target_feature(enable = "avx2,aes,pclmulqdq,sse4.1")]
    fn expand(&mut self, key: &[u8]) {
        key_schedule::expand(key, &mut self.round_keys);
        let hash_key = key_schedule::hash_key(self.size, &self.round_keys);
        let mut power = hash_key;
        for octets in self.powers.iter_mut().rev() {
            *octets = octets_of(power);
            // SAFETY: these are the features of vectors of one block.
            power = unsafe { Sums::of(power, hash_key).reduce() };
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}", self.bits())
    }
}
