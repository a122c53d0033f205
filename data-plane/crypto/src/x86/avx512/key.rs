//! Keys of this kernel.

use core::arch::x86_64::*;
use core::fmt;

use zeroize::Zeroize;

use super::ghash::{Sums, sum_of_lanes};
use super::{BLOCK, Token};

/// Powers of H that a key has.
pub(super) const POWERS: usize = 24;
/// Round keys of AES-256; AES-128 has 11, AES-192 has 13.
const ROUND_KEYS: usize = 15;

/// Powers of H and round keys, so that what a short packet needs lies side by side: of AES-128 it is five cache lines.
#[repr(C, align(64))]
pub(crate) struct Key {
    /// H^24 first, as POLYVAL takes them.
    powers: [[u8; BLOCK]; POWERS],
    size: Size,
    _room: [u8; BLOCK - 1],
    round_keys: [[u8; BLOCK]; ROUND_KEYS],
    _token: Token,
}

/// Of the key of the cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Size {
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
        let (powers, round_keys) = ([[0; BLOCK]; POWERS], [[0; BLOCK]; ROUND_KEYS]);
        let mut expanded = Self { powers, size, _room: [0; BLOCK - 1], round_keys, _token: token };
        // SAFETY: the token says that the CPU has the features.
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
    pub(super) const fn size(&self) -> Size {
        self.size
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

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
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
            power = sum_of_lanes(Sums::of(_mm512_zextsi128_si512(power), _mm512_zextsi128_si512(hash_key)).reduce());
        }
    }

    /// FIPS 197 section 5.2.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
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
fn block(value: u128) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value.to_le_bytes();
    _mm_set_epi64x(i64::from_le_bytes([i, j, k, l, m, n, o, p]), i64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn octets_of(block: __m128i) -> [u8; BLOCK] {
    let (low, high) = (_mm_extract_epi64::<0>(block).cast_unsigned(), _mm_extract_epi64::<1>(block).cast_unsigned());
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}
