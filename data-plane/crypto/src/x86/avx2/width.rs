//! What the code needs of a vector, for either width.

use core::arch::x86_64::*;

/// Vectors of one width.
///
/// # Safety
/// Calling any of these asks for the features of the width, and pointers for what is read or written behind them.
pub(super) trait Vector: Copy {
    /// Blocks in a vector.
    const LANES: usize;

    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    /// A block in every lane.
    unsafe fn broadcast(block: __m128i) -> Self;
    /// A block in the first lane, and zeros.
    unsafe fn of_block(block: __m128i) -> Self;
    unsafe fn first_block(self) -> __m128i;
    unsafe fn sum_of_lanes(self) -> __m128i;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    /// Octets of each lane in another order.
    unsafe fn shuffle(self, order: Self) -> Self;
    unsafe fn aesenc(self, round_key: Self) -> Self;
    unsafe fn aesenclast(self, round_key: Self) -> Self;
    /// Carry-less product of a half of each lane of both: bit 0 says which of `self`, bit 4 which of `other`.
    unsafe fn clmul<const HALVES: i32>(self, other: Self) -> Self;
    /// Some octets, fewer than the vector has, and zeros.
    unsafe fn load_part(from: *const u8, octets: usize) -> Self;
    /// The first octets, fewer than the vector has.
    unsafe fn store_part(self, to: *mut u8, octets: usize);
}

impl Vector for __m128i {
    const LANES: usize = 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller says that it can be read.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller says that it can be written.
        unsafe { _mm_storeu_si128(to.cast(), self) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn broadcast(block: __m128i) -> Self {
        block
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn of_block(block: __m128i) -> Self {
        block
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn first_block(self) -> __m128i {
        self
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sum_of_lanes(self) -> __m128i {
        self
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn xor(self, other: Self) -> Self {
        _mm_xor_si128(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn and(self, other: Self) -> Self {
        _mm_and_si128(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shuffle(self, order: Self) -> Self {
        _mm_shuffle_epi8(self, order)
    }

    #[inline]
    #[target_feature(enable = "avx2,aes")]
    unsafe fn aesenc(self, round_key: Self) -> Self {
        _mm_aesenc_si128(self, round_key)
    }

    #[inline]
    #[target_feature(enable = "avx2,aes")]
    unsafe fn aesenclast(self, round_key: Self) -> Self {
        _mm_aesenclast_si128(self, round_key)
    }

    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq")]
    unsafe fn clmul<const HALVES: i32>(self, other: Self) -> Self {
        _mm_clmulepi64_si128::<HALVES>(self, other)
    }

    /// Two reads that overlap.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_part(from: *const u8, octets: usize) -> Self {
        // SAFETY: the caller says that so many octets can be read, and each read is within them.
        let (low, high) = unsafe {
            match octets {
                8.. => (read_u64(from), read_u64(from.wrapping_add(octets - 8)).checked_shr(bits(16 - octets)).unwrap_or(0)),
                4.. => (u64::from(read_u32(from)) | u64::from(read_u32(from.wrapping_add(octets - 4))) << bits(octets - 4), 0),
                1.. => {
                    let at = |n: usize| u64::from(from.wrapping_add(n).read()) << bits(n);
                    (at(0) | at(octets / 2) | at(octets - 1), 0)
                }
                0 => (0, 0),
            }
        };
        _mm_set_epi64x(high.cast_signed(), low.cast_signed())
    }

    /// Two writes that overlap.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_part(self, to: *mut u8, octets: usize) {
        let low = _mm_extract_epi64::<0>(self).cast_unsigned();
        let all = u128::from(_mm_extract_epi64::<1>(self).cast_unsigned()) << 64 | u128::from(low);
        // SAFETY: the caller says that so many octets can be written, and each write is within them.
        unsafe {
            match octets {
                8.. => {
                    to.cast::<[u8; 8]>().write(low.to_le_bytes());
                    to.wrapping_add(octets - 8).cast::<[u8; 8]>().write(octets_of(all >> bits(octets - 8)));
                }
                4.. => {
                    to.cast::<[u8; 4]>().write(octets_of(all));
                    to.wrapping_add(octets - 4).cast::<[u8; 4]>().write(octets_of(all >> bits(octets - 4)));
                }
                1.. => {
                    for n in [0, octets / 2, octets - 1] {
                        to.wrapping_add(n).cast::<[u8; 1]>().write(octets_of(all >> bits(n)));
                    }
                }
                0 => {}
            }
        }
    }
}

impl Vector for __m256i {
    const LANES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller says that it can be read.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller says that it can be written.
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn broadcast(block: __m128i) -> Self {
        _mm256_broadcastsi128_si256(block)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn of_block(block: __m128i) -> Self {
        _mm256_zextsi128_si256(block)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn first_block(self) -> __m128i {
        _mm256_castsi256_si128(self)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sum_of_lanes(self) -> __m128i {
        _mm_xor_si128(_mm256_castsi256_si128(self), _mm256_extracti128_si256::<1>(self))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn xor(self, other: Self) -> Self {
        _mm256_xor_si256(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn and(self, other: Self) -> Self {
        _mm256_and_si256(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shuffle(self, order: Self) -> Self {
        _mm256_shuffle_epi8(self, order)
    }

    #[inline]
    #[target_feature(enable = "avx2,vaes")]
    unsafe fn aesenc(self, round_key: Self) -> Self {
        _mm256_aesenc_epi128(self, round_key)
    }

    #[inline]
    #[target_feature(enable = "avx2,vaes")]
    unsafe fn aesenclast(self, round_key: Self) -> Self {
        _mm256_aesenclast_epi128(self, round_key)
    }

    #[inline]
    #[target_feature(enable = "avx2,vpclmulqdq")]
    unsafe fn clmul<const HALVES: i32>(self, other: Self) -> Self {
        _mm256_clmulepi64_epi128::<HALVES>(self, other)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_part(from: *const u8, octets: usize) -> Self {
        // SAFETY: the caller says that so many octets can be read; a lane has 16 of them.
        unsafe {
            match octets.checked_sub(16) {
                Some(more) => {
                    let (low, high) = (<__m128i as Vector>::load(from), <__m128i as Vector>::load_part(from.wrapping_add(16), more));
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
                }
                None => _mm256_zextsi128_si256(<__m128i as Vector>::load_part(from, octets)),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_part(self, to: *mut u8, octets: usize) {
        let low = _mm256_castsi256_si128(self);
        // SAFETY: the caller says that so many octets can be written; a lane has 16 of them.
        unsafe {
            match octets.checked_sub(16) {
                Some(more) => {
                    Vector::store(low, to);
                    Vector::store_part(_mm256_extracti128_si256::<1>(self), to.wrapping_add(16), more);
                }
                None => Vector::store_part(low, to, octets),
            }
        }
    }
}

#[inline]
unsafe fn read_u64(from: *const u8) -> u64 {
    // SAFETY: the caller says that it can be read.
    u64::from_le_bytes(unsafe { from.cast::<[u8; 8]>().read() })
}

#[inline]
unsafe fn read_u32(from: *const u8) -> u32 {
    // SAFETY: the caller says that it can be read.
    u32::from_le_bytes(unsafe { from.cast::<[u8; 4]>().read() })
}

/// Of at most a vector of octets.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most 256")]
const fn bits(octets: usize) -> u32 {
    8 * octets as u32
}

/// The lowest octets, the lowest first.
#[inline]
fn octets_of<const N: usize>(value: u128) -> [u8; N] {
    value.to_le_bytes().first_chunk().copied().unwrap_or([0; N])
}
