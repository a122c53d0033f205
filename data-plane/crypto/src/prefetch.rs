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
    /// Has the caches fetch what a packet with so many octets of data needs of the key.
    #[inline]
    pub fn prefetch(&self, len: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(octets) = crate::x86::avx512::octets_for(len) {
            return lines(self, octets);
        }
        // Of others the key is behind a pointer.
        lines(self, 0..LINE);
    }
}

#[inline]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "a hint, and no more"))]
fn lines<T>(value: &T, octets: Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    for at in (octets.start / LINE * LINE..octets.end).step_by(LINE) {
        crate::x86::prefetch_line(core::ptr::from_ref(value).cast::<u8>().wrapping_add(at));
    }
}
