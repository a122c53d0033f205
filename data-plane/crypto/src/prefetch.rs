//! Hints to the caches. With thousands of SAs what a packet needs of its own comes from memory: asked for ahead, for all packets of a burst, it comes for
//! all of them at once.

use core::ops::Range;

use crate::AeadKey;

/// Octets of a cache line.
const LINE: usize = 64;

/// Has the caches fetch a value, which is about to be used.
#[inline]
pub fn prefetch<T>(value: &T) {
    lines(value, 0..size_of::<T>());
}

impl AeadKey {
    /// Has the caches fetch what most packets need of the key: what it is a key of, and of an expanded one round keys and lower powers, which stand last.
    #[inline]
    pub fn prefetch(&self) {
        const LAST: usize = 448;
        lines(self, 0..LINE);
        lines(self, size_of::<Self>().saturating_sub(LAST).max(LINE)..size_of::<Self>());
    }
}

#[inline]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "a hint, and no more"))]
fn lines<T>(value: &T, octets: Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    for at in octets.step_by(LINE) {
        crate::x86::prefetch_line(core::ptr::from_ref(value).cast::<u8>().wrapping_add(at));
    }
}
