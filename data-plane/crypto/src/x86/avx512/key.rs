//! Keys of this kernel.

use core::arch::x86_64::*;
use core::fmt;
use core::ops::Range;

use zeroize::Zeroize;

use super::ghash::{Sums, sum_of_lanes};
use super::{BLOCK, Token};
use crate::x86::key_schedule::{self, ROUND_KEYS, Size, octets_of};

/// Powers of H that a key has: what the longest chunk of a packet needs, one for each block and one for the lengths, and as many more as let those of a
/// short packet and the round keys of AES-128 begin and end with cache lines.
pub(super) const POWERS: usize = 20;

/// Powers of H and round keys, so that what a short packet needs lies side by side: of AES-128 it is five cache lines.
#[repr(C, align(64))]
pub(crate) struct Key {
    /// H^20 first, as POLYVAL takes them.
    powers: [[u8; BLOCK]; POWERS],
    size: Size,
    _room: [u8; BLOCK - 1],
    round_keys: [[u8; BLOCK]; ROUND_KEYS],
    _token: Token,
}

/// Where in a key of AES-GCM stands what data of this length need: powers of H for each block, for AAD and lengths, and round keys. `None` where the CPU runs
/// another kernel.
#[inline]
pub(crate) fn octets_for(len: usize) -> Option<Range<usize>> {
    Token::detect()?;
    let powers = (len.div_ceil(BLOCK) + 2).min(POWERS);
    Some((POWERS - powers) * BLOCK..size_of::<Key>())
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
        let (powers, round_keys) = ([[0; BLOCK]; POWERS], [[0; BLOCK]; ROUND_KEYS]);
        let mut expanded = Self { powers, size, _room: [0; BLOCK - 1], round_keys, _token: token };
        // SAFETY: the token says that the CPU has the features.
        unsafe { expanded.expand(key) };
        Some(expanded)
    }

    pub(crate) const fn bits(&self) -> u32 {
        self.size.bits()
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
        key_schedule::expand(key, &mut self.round_keys);
        let hash_key = key_schedule::hash_key(self.size, &self.round_keys);
        let mut power = hash_key;
        for octets in self.powers.iter_mut().rev() {
            *octets = octets_of(power);
            power = sum_of_lanes(Sums::of(_mm512_zextsi128_si512(power), _mm512_zextsi128_si512(hash_key)).reduce());
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}", self.bits())
    }
}
