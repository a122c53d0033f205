//! Kernels of AES-GCM for x86-64, each behind the proof that the CPU has what it was compiled for. All unsafe code of this crate is here.

pub(crate) mod avx2;
pub(crate) mod avx512;
mod counters;
mod key_schedule;

const BLOCK: usize = 16;

/// Asks for the cache line of an address.
#[inline]
pub(crate) fn prefetch_line(at: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch is a hint that no address makes fault, and part of every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}
