//! What AES and GCM compute of a key ahead, alike for all vectors.

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::BLOCK;

/// Round keys of AES-256; AES-128 has 11, AES-192 has 13.
pub(super) const ROUND_KEYS: usize = 15;

/// Of the key of the cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Size {
    Aes128,
    Aes192,
    Aes256,
}

impl Size {
    /// `None` where the length is none of AES.
    pub(super) const fn of(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Aes128),
            24 => Some(Self::Aes192),
            32 => Some(Self::Aes256),
            _ => None,
        }
    }

    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::Aes128 => 128,
            Self::Aes192 => 192,
            Self::Aes256 => 256,
        }
    }

    const fn rounds(self) -> usize {
        match self {
            Self::Aes128 => 10,
            Self::Aes192 => 12,
            Self::Aes256 => 14,
        }
    }
}

/// Expands a key (FIPS 197 section 5.2).
#[target_feature(enable = "avx2,aes,sse4.1")]
pub(super) fn expand(key: &[u8], round_keys: &mut [[u8; BLOCK]; ROUND_KEYS]) {
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
    let octets = round_keys.iter_mut().flat_map(|round_key| round_key.as_chunks_mut::<4>().0);
    octets.zip(&words).for_each(|(octets, word)| *octets = word.to_le_bytes());
    words.zeroize();
}

/// The hash key of GCM, the block of zeros encrypted, as POLYVAL takes it: octets reversed, and multiplied by x (RFC 8452 appendix A).
#[target_feature(enable = "avx2,aes,sse4.1")]
pub(super) fn hash_key(size: Size, round_keys: &[[u8; BLOCK]; ROUND_KEYS]) -> __m128i {
    let mut state = _mm_setzero_si128();
    for (n, round_key) in round_keys.iter().enumerate().take(size.rounds() + 1) {
        let round_key = block(u128::from_le_bytes(*round_key));
        state = match n {
            0 => _mm_xor_si128(state, round_key),
            n if n == size.rounds() => _mm_aesenclast_si128(state, round_key),
            _ => _mm_aesenc_si128(state, round_key),
        };
    }
    let reversed = u128::from_le_bytes(octets_of(state)).swap_bytes();
    let carry = 0_u128.wrapping_sub(reversed >> 127);
    block((reversed << 1) ^ (carry & 0xc200_0000_0000_0000_0000_0000_0000_0001))
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
