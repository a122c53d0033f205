//! What a kernel takes of a job.

use core::arch::x86_64::*;

use super::{BLOCK, Key, VECTOR};
use crate::job::Front;

/// One packet, in place. Its octets are those of a job that is borrowed as long as this lives.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Packet<'a> {
    pub(super) len: usize,
    pub(super) key: &'a Key,
    pub(super) front: *const Front,
    pub(super) data: *mut u8,
    /// The power of H for the first block of data, where the last has H^2.
    pub(super) powers: *const u8,
    /// Written by seal, read by open.
    pub(super) icv: *mut u8,
}

impl<'a> Packet<'a> {
    #[inline]
    pub(super) fn new(key: &'a Key, front: *const Front, data: *mut u8, len: usize, icv: *mut u8) -> Self {
        Self { len, key, front, data, powers: key.powers_from(1).wrapping_sub(len.wrapping_add(BLOCK - 1) & !(BLOCK - 1)), icv }
    }
}

impl Packet<'_> {
    /// The block of the nonce with room for a counter.
    #[inline]
    pub(super) const fn nonce(&self) -> *const u8 {
        self.front.cast()
    }

    /// The block of AAD and its length.
    #[inline]
    pub(super) const fn aad(&self) -> *const u8 {
        self.front.cast::<u8>().wrapping_add(BLOCK)
    }

    /// The block that begins with the octets of data.
    #[inline]
    pub(super) const fn len_block(&self) -> *const u8 {
        (&raw const self.len).cast()
    }
}

/// The octets that the first `len` of a stream have in its vector `n`, one bit each.
#[inline]
#[target_feature(enable = "bmi2")]
pub(super) fn mask(len: usize, n: usize) -> u64 {
    let octets = u32::try_from(len.saturating_sub(n * VECTOR).min(VECTOR)).unwrap_or(64);
    _bzhi_u64(u64::MAX, octets)
}

/// Turns AAD with its length into the block of GHASH, octets reversed, in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn aad_block(aad: __m512i) -> __m512i {
    _mm512_shuffle_epi8(aad, in_lanes(0x0001_0203_0405_0607, 0x0809_0a0b_8080_8080))
}

/// Turns AAD with its length, and the octets of data in the low half of each lane, into the block of both lengths in bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn lengths_block(aad: __m512i, data: __m512i) -> __m512i {
    _mm512_slli_epi64::<3>(_mm512_mask_mov_epi64(_mm512_srli_epi64::<32>(aad), 0x55, data))
}

/// Reverses the octets of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn reverse(blocks: __m512i) -> __m512i {
    _mm512_shuffle_epi8(blocks, in_lanes(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn in_lanes(high: u64, low: u64) -> __m512i {
    let [high, low] = [high.cast_signed(), low.cast_signed()];
    _mm512_set_epi64(high, low, high, low, high, low, high, low)
}
