//! Jobs as this kernel reads them, where they are.

use core::arch::x86_64::*;
use core::hint::unreachable_unchecked;
use core::mem::offset_of;

use super::{BLOCK, Key, VECTOR};
use crate::job::Front;
use crate::key::{AeadKey, Algorithm};
use crate::x86::key_schedule::Size;
use crate::{OpenJob, SealJob, gcm};

/// A job, whichever way it goes.
pub(crate) trait Job<'a>: Sized {
    /// Whether it seals.
    const SEAL: bool;

    /// The jobs as packets.
    fn packets<'b>(jobs: &'b mut [Self]) -> &'b [Packet<'a>];
}

/// One packet, in place: a job of either kind, with slices taken apart.
#[repr(C)]
pub(crate) struct Packet<'a> {
    pub(super) octets: Octets,
    key: &'a AeadKey,
}

/// What is read and written.
#[repr(C)]
pub(super) struct Octets {
    front: Front,
    pub(super) data: *mut u8,
    pub(super) len: usize,
    /// Written by seal, read by open.
    pub(super) icv: *mut u8,
    _icv_len: usize,
}

// A slice is where it begins and how long it is, in this order.
const _: () = {
    let slice: &[u8] = &[0; 3];
    // SAFETY: a slice has two words, and the second one is no pointer if it is the length.
    assert!(unsafe { (&raw const slice).cast::<usize>().add(1).read() } == 3);
};

macro_rules! job {
    ($job:ident, $seal:literal) => {
        const _: () = {
            assert!(size_of::<$job<'_>>() == size_of::<Packet<'_>>() && align_of::<$job<'_>>() == align_of::<Packet<'_>>());
            assert!(offset_of!($job<'_>, front) == offset_of!(Packet<'_>, octets.front));
            assert!(offset_of!($job<'_>, data) == offset_of!(Packet<'_>, octets.data));
            assert!(offset_of!($job<'_>, icv) == offset_of!(Packet<'_>, octets.icv));
            assert!(offset_of!($job<'_>, key) == offset_of!(Packet<'_>, key));
        };

        impl<'a> Job<'a> for $job<'a> {
            const SEAL: bool = $seal;

            #[inline]
            fn packets<'b>(jobs: &'b mut [Self]) -> &'b [Packet<'a>] {
                // SAFETY: both have the same fields in the same places, as asserted above, and the jobs are borrowed as long as the packets.
                unsafe { core::slice::from_raw_parts(jobs.as_mut_ptr().cast(), jobs.len()) }
            }
        }
    };
}
job!(SealJob, true);
job!(OpenJob, false);

impl<'a> Packet<'a> {
    /// One without data, in the place of another one of this key, with an ICV that nobody looks at.
    #[inline]
    pub(super) const fn idle(like: &Self, icv: *mut u8) -> Self {
        let Octets { front, data, .. } = like.octets;
        Self { octets: Octets { front, data, len: 0, icv, _icv_len: BLOCK }, key: like.key }
    }

    /// The key, where it is one of this kernel.
    #[inline]
    pub(super) const fn checked_key(&self) -> Option<&'a Key> {
        match &self.key.0 {
            Algorithm::AesGcm(gcm::Key::Avx512(key)) => Some(key),
            _ => None,
        }
    }

    /// Has the caches fetch what the packet needs of its key.
    #[inline]
    pub(super) fn prefetch_key(&self) {
        self.key.prefetch(self.octets.len);
    }

    /// The size of the key, where it is one of this kernel.
    #[inline]
    pub(super) fn key_size(&self) -> Option<Size> {
        self.checked_key().map(Key::size)
    }

    /// What tells keys apart.
    #[inline]
    pub(super) fn key_address(&self) -> usize {
        core::ptr::from_ref(self.key).addr()
    }

    /// # Safety
    /// The key is one of this kernel.
    #[inline]
    pub(super) const unsafe fn key(&self) -> &'a Key {
        match self.checked_key() {
            Some(key) => key,
            // SAFETY: the caller says so.
            None => unsafe { unreachable_unchecked() },
        }
    }
}

impl Octets {
    #[inline]
    pub(super) const fn new(front: Front, data: *mut u8, len: usize, icv: *mut u8) -> Self {
        Self { front, data, len, icv, _icv_len: BLOCK }
    }

    /// The block of the nonce with room for a counter.
    #[inline]
    pub(super) const fn nonce(&self) -> *const u8 {
        (&raw const self.front).cast()
    }

    /// The block of AAD and its length.
    #[inline]
    pub(super) const fn aad(&self) -> *const u8 {
        self.nonce().wrapping_add(BLOCK)
    }

    /// The block that begins with the octets of data.
    #[inline]
    pub(super) const fn len_block(&self) -> *const u8 {
        (&raw const self.len).cast()
    }

    /// The power of H for the first block of data, where the last has H^2.
    #[inline]
    pub(super) fn powers(&self, key: &Key) -> *const u8 {
        key.powers_from(1).wrapping_sub(self.len.wrapping_add(BLOCK - 1) & !(BLOCK - 1))
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
