//! A few packets that travel together.

use std::ops::{Deref, DerefMut};

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::mbuf::Mbuf;

/// The most packets in one burst.
pub const BURST: usize = 32;

/// Up to [`BURST`] owned mbufs. What is in it when it is dropped goes back to the pool.
#[derive(Debug, Default)]
pub struct Burst {
    mbufs: ArrayVec<Mbuf, BURST>,
}

impl Burst {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self { mbufs: ArrayVec::new_const() }
    }

    /// Adds a packet at the end.
    ///
    /// # Errors
    /// Gives the packet back when the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        self.mbufs.try_push(mbuf).map_err(|e| e.element())
    }

    /// Moves all packets out, first to last. Those the caller does not take are freed.
    #[inline]
    pub fn drain(&mut self) -> impl ExactSizeIterator<Item = Mbuf> + '_ {
        self.mbufs.drain(..)
    }

    /// Frees all packets, in one call.
    #[inline]
    pub fn clear(&mut self) {
        if self.mbufs.is_empty() {
            return;
        }
        self.give(|mbufs, count| {
            // SAFETY: `count` mbufs that `give` hands over: nobody uses them again.
            unsafe { sys::rte_pktmbuf_free_bulk(mbufs, u32::from(count)) };
            count
        });
    }

    /// Lets `take` write up to `room` new mbufs behind the last one and counts as many as it says.
    #[inline]
    pub(crate) fn receive(&mut self, take: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16) -> usize {
        let (len, room) = (self.mbufs.len(), self.mbufs.remaining_capacity());
        let count = usize::from(take(self.end(), count_of(room))).min(room);
        // SAFETY: at most `room` more than there were, and `take` wrote that many owned mbufs from `end` on.
        unsafe { self.mbufs.set_len(len + count) };
        count
    }

    /// Hands all mbufs to `take`, which answers how many of the first it took; the rest moves to the front and stays.
    #[inline]
    pub(crate) fn give(&mut self, take: impl FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16) -> usize {
        let len = self.mbufs.len();
        // From here on the array owns nothing, so no mbuf can be freed twice.
        // SAFETY: zero is never more than the capacity.
        unsafe { self.mbufs.set_len(0) };
        let first = self.mbufs.as_mut_ptr();
        let taken = usize::from(take(first.cast(), count_of(len))).min(len);
        if taken < len {
            // SAFETY: `taken < len <= capacity`.
            let rest = unsafe { first.add(taken) };
            // SAFETY: both ends lie in the array; the ranges may overlap, which `copy` allows.
            unsafe { rest.copy_to(first, len - taken) };
        }
        // SAFETY: the first `len - taken` places hold the mbufs that were not taken.
        unsafe { self.mbufs.set_len(len - taken) };
        taken
    }

    #[inline]
    fn end(&mut self) -> *mut *mut sys::rte_mbuf {
        let len = self.mbufs.len();
        // SAFETY: `len` is at most the capacity, so this is inside or one past the array. `Mbuf` is a transparent pointer.
        unsafe { self.mbufs.as_mut_ptr().add(len) }.cast()
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Deref for Burst {
    type Target = [Mbuf];

    #[inline]
    fn deref(&self) -> &[Mbuf] {
        &self.mbufs
    }
}

impl DerefMut for Burst {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        &mut self.mbufs
    }
}

#[expect(clippy::cast_possible_truncation, reason = "never more than BURST")]
#[inline]
const fn count_of(n: usize) -> u16 {
    n as u16
}
