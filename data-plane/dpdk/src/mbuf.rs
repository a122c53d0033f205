//! One packet of DPDK, owned.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use dpdk_sys as sys;
use packet::Buffer;

/// Octets of headroom of a fresh mbuf.
pub const HEADROOM: usize = sys::CULVERT_MBUF_HEADROOM as usize;

/// An owned mbuf. Dropping it gives it back to its pool.
///
/// As a [`Buffer`] it shows its first segment, which is the whole packet unless [`Mbuf::is_contiguous`] denies it. A packet of
/// several segments can grow and shrink at the front only.
#[derive(Debug)]
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf may be used and freed by any thread; `Mbuf` is its only owner.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `mbuf` is a valid mbuf with one reference, which the caller gives up.
    pub(crate) unsafe fn from_raw(mbuf: NonNull<sys::rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// The mbuf itself, which stays ours.
    pub(crate) const fn raw(&self) -> *const sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// Whether the packet lies in one segment.
    #[inline]
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        NB_SEGS.read(self) == 1
    }

    /// First octet of the packet.
    #[inline]
    fn data(&self) -> *mut u8 {
        let offset = usize::from(DATA_OFF.read(self));
        // SAFETY: DPDK's rule for every mbuf, `data_off + data_len <= buf_len`, holds when we get one, and each method here that
        // moves a bound checks it against the same fields; so the offset stays inside the buffer.
        unsafe { BUF_ADDR.read(self).add(offset) }
    }

    #[inline]
    fn set_bounds(&mut self, data_off: u16, data_len: u16, pkt_len: u32) {
        DATA_OFF.write(self, data_off);
        DATA_LEN.write(self, data_len);
        PKT_LEN.write(self, pkt_len);
    }

    #[inline]
    fn bounds(&self) -> (u16, u16, u32) {
        (DATA_OFF.read(self), DATA_LEN.read(self), PKT_LEN.read(self))
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: we own it, and it is not used again. Its pool lives: EAL is not cleaned up while an mbuf is out.
        unsafe { sys::culvert_mbuf_free(self.0.as_ptr()) };
    }
}

impl Buffer for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `data_len` octets from `data` on lie in the buffer (see `data`); the shared borrow keeps them from changing.
        unsafe { slice::from_raw_parts(self.data(), usize::from(DATA_LEN.read(self))) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `data_len` octets from `data` on lie in the buffer (see `data`), and an owned mbuf has no other user.
        unsafe { slice::from_raw_parts_mut(self.data(), usize::from(DATA_LEN.read(self))) }
    }

    #[inline]
    fn headroom(&self) -> usize {
        usize::from(DATA_OFF.read(self))
    }

    #[inline]
    fn tailroom(&self) -> usize {
        if !self.is_contiguous() {
            return 0;
        }
        usize::from(BUF_LEN.read(self)).saturating_sub(usize::from(DATA_OFF.read(self)) + usize::from(DATA_LEN.read(self)))
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let (data_off, data_len, pkt_len) = self.bounds();
        let grown = u16::try_from(n).ok()?;
        self.set_bounds(data_off.checked_sub(grown)?, data_len.checked_add(grown)?, pkt_len.checked_add(u32::from(grown))?);
        self.bytes_mut().get_mut(..n)
    }

    #[inline]
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        let (data_off, data_len, pkt_len) = self.bounds();
        let grown = u16::try_from(n).ok()?;
        self.set_bounds(data_off, data_len.checked_add(grown)?, pkt_len.checked_add(u32::from(grown))?);
        self.bytes_mut().get_mut(usize::from(data_len)..)
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> Option<()> {
        let (data_off, data_len, pkt_len) = self.bounds();
        let cut = u16::try_from(n).ok()?;
        self.set_bounds(data_off.checked_add(cut)?, data_len.checked_sub(cut)?, pkt_len.checked_sub(u32::from(cut))?);
        Some(())
    }

    #[inline]
    fn trim_back(&mut self, n: usize) -> Option<()> {
        if !self.is_contiguous() {
            return None;
        }
        let (data_off, data_len, pkt_len) = self.bounds();
        let cut = u16::try_from(n).ok()?;
        self.set_bounds(data_off, data_len.checked_sub(cut)?, pkt_len.checked_sub(u32::from(cut))?);
        Some(())
    }

    #[inline]
    fn enclose(&mut self, front: usize, len: usize, back: usize) -> Option<&mut [u8]> {
        let (data_off, data_len, _) = self.bounds();
        if len > usize::from(data_len) || !self.is_contiguous() {
            return None;
        }
        let data_off = usize::from(data_off).checked_sub(front)?;
        let grown = back.checked_add(front + len)?;
        if grown > usize::from(BUF_LEN.read(self)).saturating_sub(data_off) {
            return None;
        }
        self.set_bounds(u16::try_from(data_off).ok()?, u16::try_from(grown).ok()?, u32::try_from(grown).ok()?);
        Some(self.bytes_mut())
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few fields of a packet that is known")]
    fn keep(&mut self, at: usize, len: usize) -> Option<()> {
        let (data_off, data_len, _) = self.bounds();
        let (at, len) = (u16::try_from(at).ok()?, u16::try_from(len).ok()?);
        if len > data_len.checked_sub(at)? || !self.is_contiguous() {
            return None;
        }
        self.set_bounds(data_off.checked_add(at)?, len, len.into());
        Some(())
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(DATA_LEN.read(self))
    }
}

/// One field of `rte_mbuf`, at the place the C compiler put it.
struct Field<T> {
    offset: usize,
    kind: PhantomData<T>,
}

const BUF_ADDR: Field<*mut u8> = Field::at(sys::CULVERT_MBUF_BUF_ADDR);
const BUF_LEN: Field<u16> = Field::at(sys::CULVERT_MBUF_BUF_LEN);
const DATA_OFF: Field<u16> = Field::at(sys::CULVERT_MBUF_DATA_OFF);
const DATA_LEN: Field<u16> = Field::at(sys::CULVERT_MBUF_DATA_LEN);
const PKT_LEN: Field<u32> = Field::at(sys::CULVERT_MBUF_PKT_LEN);
const NB_SEGS: Field<u16> = Field::at(sys::CULVERT_MBUF_NB_SEGS);

impl<T: Copy> Field<T> {
    /// Evaluated in constants only, so a field that does not lie aligned inside the generated struct is a compile error. The shims'
    /// header asserts each field's width.
    const fn at(offset: u32) -> Self {
        let offset = offset as usize;
        assert!(offset + size_of::<T>() <= size_of::<sys::rte_mbuf>());
        assert!(offset.is_multiple_of(align_of::<T>()) && align_of::<sys::rte_mbuf>() >= align_of::<T>());
        Self { offset, kind: PhantomData }
    }

    #[inline(always)]
    fn place(&self, mbuf: &Mbuf) -> *mut T {
        // SAFETY: `at` checked that the field lies inside the struct, and an `Mbuf` points to one.
        unsafe { mbuf.0.as_ptr().byte_add(self.offset) }.cast()
    }

    #[inline(always)]
    fn read(&self, mbuf: &Mbuf) -> T {
        // SAFETY: inside the struct and aligned, as `at` checked; DPDK initialised it.
        unsafe { self.place(mbuf).read() }
    }

    #[inline(always)]
    fn write(&self, mbuf: &mut Mbuf, value: T) {
        // SAFETY: inside the struct and aligned, as `at` checked; the exclusive borrow means nobody else reads it.
        unsafe { self.place(mbuf).write(value) }
    }
}
