//! Keys of this kernel.

use core::arch::x86_64::*;
use core::fmt;

use zeroize::Zeroize;

use super::stream::{self, Sums};
use super::{BLOCK, Token, Width};
use crate::tag::is_tag;
use crate::{Aad, ICV_LEN, NONCE_LEN};

/// What the last vectors of a packet may need: 16 blocks, with the AAD before them and the lengths behind.
pub(super) const POWERS: usize = 18;
/// Round keys of AES-256; AES-128 has 11, AES-192 has 13.
const ROUND_KEYS: usize = 15;

/// Powers of H and round keys: those that a short packet needs lie side by side.
#[repr(C, align(64))]
pub(crate) struct Key {
    /// H^18 first, as POLYVAL takes them.
    powers: [[u8; BLOCK]; POWERS],
    round_keys: [[u8; BLOCK]; ROUND_KEYS],
    size: Size,
    token: Token,
}

#[derive(Clone, Copy)]
enum Size {
    Aes128,
    Aes192,
    Aes256,
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
        let size = match key.len() {
            16 => Size::Aes128,
            24 => Size::Aes192,
            32 => Size::Aes256,
            _ => return None,
        };
        let mut expanded = Self { powers: [[0; BLOCK]; POWERS], round_keys: [[0; BLOCK]; ROUND_KEYS], size, token };
        // SAFETY: the token says that the CPU has the features: either width needs these.
        unsafe { expanded.expand(key) };
        Some(expanded)
    }

    pub(crate) const fn bits(&self) -> u32 {
        match self.size {
            Size::Aes128 => 128,
            Size::Aes192 => 192,
            Size::Aes256 => 256,
        }
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
        self.expand_round_keys(key);
        let first = u128::from_le_bytes(self.encrypt_zero());
        // Octets reversed, and multiplied by x: the hash key of POLYVAL (RFC 8452 appendix A).
        let reversed = first.swap_bytes();
        let carry = 0_u128.wrapping_sub(reversed >> 127);
        let hash_key = block((reversed << 1) ^ (carry & 0xc200_0000_0000_0000_0000_0000_0000_0001));
        let mut power = hash_key;
        for octets in self.powers.iter_mut().rev() {
            *octets = octets_of(power);
            // SAFETY: these are the features of vectors of one block.
            power = unsafe { Sums::of(power, hash_key).reduce() };
        }
    }

    /// FIPS 197 section 5.2.
    #[target_feature(enable = "avx2,aes,sse4.1")]
    fn expand_round_keys(&mut self, key: &[u8]) {
        let (of_key, _) = key.as_chunks::<4>();
        let nk = of_key.len();
        let mut words = [0_u32; 4 * ROUND_KEYS];
        words.iter_mut().zip(of_key).for_each(|(word, octets)| *word = u32::from_le_bytes(*octets));
        let mut rcon = 1_u8;
        for i in nk..words.len() {
            let [Some(&before), Some(&far)] = [i - 1, i - nk].map(|at| words.get(at)) else { continue };
            let word = match i % nk {
                0 => sub_word(before).rotate_right(8) ^ u32::from(rcon),
                4 if nk > 6 => sub_word(before),
                _ => before,
            };
            if i % nk == 0 {
                rcon = (rcon << 1) ^ if rcon & 0x80 == 0 { 0 } else { 0x1b };
            }
            if let Some(place) = words.get_mut(i) {
                *place = far ^ word;
            }
        }
        let octets = self.round_keys.iter_mut().flat_map(|round_key| round_key.as_chunks_mut::<4>().0);
        octets.zip(&words).for_each(|(octets, word)| *octets = word.to_le_bytes());
        words.zeroize();
    }

    /// The block of zeros, encrypted: the hash key of GCM.
    #[target_feature(enable = "avx2,aes,sse4.1")]
    fn encrypt_zero(&self) -> [u8; BLOCK] {
        let rounds = match self.size {
            Size::Aes128 => 10,
            Size::Aes192 => 12,
            Size::Aes256 => 14,
        };
        let mut state = _mm_setzero_si128();
        for (n, round_key) in self.round_keys.iter().enumerate().take(rounds + 1) {
            let round_key = block(u128::from_le_bytes(*round_key));
            state = match n {
                0 => _mm_xor_si128(state, round_key),
                n if n == rounds => _mm_aesenclast_si128(state, round_key),
                _ => _mm_aesenc_si128(state, round_key),
            };
        }
        octets_of(state)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}", self.bits())
    }
}

/// SubWord of FIPS 197 section 5.2.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn sub_word(word: u32) -> u32 {
    let words = _mm_aeskeygenassist_si128::<0>(_mm_set1_epi32(word.cast_signed()));
    _mm_cvtsi128_si32(words).cast_unsigned()
}

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn block(value: u128) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value.to_le_bytes();
    _mm_set_epi64x(i64::from_le_bytes([i, j, k, l, m, n, o, p]), i64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn octets_of(block: __m128i) -> [u8; BLOCK] {
    let (low, high) = (_mm_extract_epi64::<0>(block).cast_unsigned(), _mm_extract_epi64::<1>(block).cast_unsigned());
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}
