//! GHASH as POLYVAL (RFC 8452 appendix A) over octet-reversed blocks, four blocks a vector.

use core::arch::asm;
use core::arch::x86_64::*;

use super::vector::blend;

/// Products that wait for their reduction, four lanes of each part: `low` + `middle` x^64 + `high` x^128.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) low: __m512i,
    pub(super) middle: __m512i,
    pub(super) high: __m512i,
}

impl Sums {
    /// Lane by lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn of(x: __m512i, h: __m512i) -> Self {
        let middle = _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x01>(x, h), _mm512_clmulepi64_epi128::<0x10>(x, h));
        Self { low: _mm512_clmulepi64_epi128::<0x00>(x, h), middle, high: _mm512_clmulepi64_epi128::<0x11>(x, h) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn with(self, x: __m512i, h: __m512i) -> Self {
        self.and(Self::of(x, h))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            low: _mm512_xor_si512(self.low, more.low),
            middle: _mm512_xor_si512(self.middle, more.middle),
            high: _mm512_xor_si512(self.high, more.high),
        }
    }

    /// Has these computed before what follows in assembly: the compiler would put it off, and the unit for it would be idle.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn pin(&mut self) {
        // SAFETY: nothing happens.
        unsafe {
            asm!(
                "/* {} {} {} */",
                inout(zmm_reg) self.low,
                inout(zmm_reg) self.middle,
                inout(zmm_reg) self.high,
                options(nomem, nostack, preserves_flags),
            );
        }
    }

    /// Each lane times x^-128 modulo the polynomial: two steps of Montgomery, of 64 bits each.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn reduce(self) -> __m512i {
        // x^127 + x^126 + x^121, above the x^64 that the halves trade places for.
        let polynomial = _mm512_set1_epi64(0xc200_0000_0000_0000_u64.cast_signed());
        let fold = |value, more| {
            let folded = _mm512_clmulepi64_epi128::<0x00>(value, polynomial);
            _mm512_xor_si512(_mm512_xor_si512(_mm512_shuffle_epi32::<0x4e>(value), folded), more)
        };
        fold(fold(self.low, self.middle), self.high)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn sum_of_lanes(lanes: __m512i) -> __m128i {
    let two = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
}

/// Four sums: lane n has that of the lanes of vector n.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sums_of_lanes(vectors: [__m512i; 4]) -> __m512i {
    let [a, b, c, d] = vectors;
    // Lanes 0 and 1 of the first, and 2 and 3 of the second, each with the sum of two.
    let halve = |a, b| _mm512_xor_si512(blend(0xf0, a, b), _mm512_shuffle_i64x2::<0x4e>(a, b));
    let (ac, bd) = (halve(a, c), halve(b, d));
    let others = _mm512_permutex2var_epi64(ac, _mm512_set_epi64(13, 12, 7, 6, 9, 8, 3, 2), bd);
    _mm512_xor_si512(blend(0b1100_1100, ac, bd), others)
}
