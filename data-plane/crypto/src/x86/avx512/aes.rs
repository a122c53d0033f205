//! Rounds of AES, in assembly where the compiler would choose another order: it takes one vector through all rounds before the next, which leaves the unit
//! idle between them, and keeps round keys in registers that it does not have.

use core::arch::asm;
use core::arch::x86_64::*;

use super::{Key, LANES};

/// A round key, in one lane or in all.
#[derive(Clone, Copy)]
pub(super) struct RoundKey<const N: usize>(__m512i);

impl<const N: usize> RoundKey<N> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn of(key: &Key) -> Self {
        let vector;
        // SAFETY: reads a round key.
        unsafe {
            asm!(
                "vbroadcasti32x4 {vector}, xmmword ptr [{keys} + {at}]",
                keys = in(reg) key.round_keys(),
                at = const 16 * N,
                vector = out(zmm_reg) vector,
                options(nostack, preserves_flags, readonly),
            );
        }
        Self(vector)
    }

    /// A key for each lane.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn of_lanes(keys: [&Key; LANES]) -> Self {
        let [a, b, c, d] = keys.map(Key::round_keys);
        let vector;
        // SAFETY: reads round keys.
        unsafe {
            asm!(
                "vbroadcasti32x4 {vector}, xmmword ptr [{a} + {at}]",
                "vinserti32x4 {vector}, {vector}, xmmword ptr [{b} + {at}], 1",
                "vinserti32x4 {vector}, {vector}, xmmword ptr [{c} + {at}], 2",
                "vinserti32x4 {vector}, {vector}, xmmword ptr [{d} + {at}], 3",
                a = in(reg) a,
                b = in(reg) b,
                c = in(reg) c,
                d = in(reg) d,
                at = const 16 * N,
                vector = out(zmm_reg) vector,
                options(nostack, preserves_flags, readonly),
            );
        }
        Self(vector)
    }

    /// Round `N` of so many; the last one differs (FIPS 197 section 5.1).
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn round<const ROUND_KEYS: usize, const VECTORS: usize>(self, states: &mut [__m512i; VECTORS]) {
        for state in states {
            // SAFETY: changes the vector.
            unsafe {
                if N + 1 == ROUND_KEYS {
                    asm!("vaesenclast {s}, {s}, {k}", s = inout(zmm_reg) *state, k = in(zmm_reg) self.0, options(nomem, nostack, preserves_flags));
                } else {
                    asm!("vaesenc {s}, {s}, {k}", s = inout(zmm_reg) *state, k = in(zmm_reg) self.0, options(nomem, nostack, preserves_flags));
                }
            }
        }
    }
}

/// Round `N`, if there is one, of vectors that share a key.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn round<const N: usize, const ROUND_KEYS: usize, const VECTORS: usize>(key: &Key, states: &mut [__m512i; VECTORS]) {
    if N < ROUND_KEYS {
        RoundKey::<N>::of(key).round::<ROUND_KEYS, VECTORS>(states);
    }
}

/// The round keys of a key, read once for all chunks of all packets that share it, and held in registers as far as there are enough of these. On Zen 4 a chunk
/// that reads them again takes a tenth longer.
#[derive(Clone, Copy)]
pub(super) struct RoundKeys<const ROUND_KEYS: usize>([__m512i; ROUND_KEYS]);

impl<const ROUND_KEYS: usize> RoundKeys<ROUND_KEYS> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn of(key: &Key) -> Self {
        let mut round_keys = [_mm512_setzero_si512(); ROUND_KEYS];
        macro_rules! read {
            ($($n:literal)*) => {$(
                if let Some(place) = round_keys.get_mut($n) {
                    *place = RoundKey::<$n>::of(key).0;
                }
            )*};
        }
        read!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        Self(round_keys)
    }

    /// Adds the one that comes before the rounds.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add_first(&self, state: __m512i) -> __m512i {
        match self.0.first() {
            Some(first) => _mm512_xor_si512(state, *first),
            None => state,
        }
    }

    /// Round `N`, if there is one.
    #[inline]
    #[target_feature(enable = "avx512f,vaes")]
    pub(super) fn round<const N: usize, const VECTORS: usize>(&self, states: &mut [__m512i; VECTORS]) {
        if let Some(round_key) = self.0.get(N) {
            RoundKey::<N>(*round_key).round::<ROUND_KEYS, VECTORS>(states);
        }
    }
}
