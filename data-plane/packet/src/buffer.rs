//! One contiguous packet with room to grow at either end.

/// The bytes of one packet, with headroom in front and tailroom behind.
///
/// An mbuf is one in production; a vector is one in tests, fuzzers and tools. Every method is total: a request that does not
/// fit answers `None` and changes nothing.
pub trait Buffer {
    /// The packet, from its first to its last octet.
    fn bytes(&self) -> &[u8];
    /// The packet, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Octets that [`Buffer::prepend`] can still take.
    fn headroom(&self) -> usize;
    /// Octets that [`Buffer::append`] can still take.
    fn tailroom(&self) -> usize;
    /// Grows the packet by `n` octets at the front and returns them; their content is unspecified.
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]>;
    /// Grows the packet by `n` octets at the end and returns them; their content is unspecified.
    fn append(&mut self, n: usize) -> Option<&mut [u8]>;
    /// Removes `n` octets from the front.
    fn trim_front(&mut self, n: usize) -> Option<()>;
    /// Removes `n` octets from the end.
    fn trim_back(&mut self, n: usize) -> Option<()>;

    /// Keeps the first `len` octets of the packet and grows it by `front` octets before and `back` octets behind them, whose content is unspecified.
    /// Returns all of it: one look at the bounds instead of three.
    #[inline]
    fn enclose(&mut self, front: usize, len: usize, back: usize) -> Option<&mut [u8]> {
        let surplus = self.len().checked_sub(len)?;
        if self.headroom() < front || self.tailroom() + surplus < back {
            return None;
        }
        self.trim_back(surplus)?;
        self.append(back)?;
        self.prepend(front)?;
        Some(self.bytes_mut())
    }
    /// Removes everything but `len` octets from the `at`th on.
    #[inline]
    fn keep(&mut self, at: usize, len: usize) -> Option<()> {
        let surplus = self.len().checked_sub(at.checked_add(len)?)?;
        self.trim_back(surplus)?;
        self.trim_front(at)
    }
    /// Length of the packet in octets.
    fn len(&self) -> usize {
        self.bytes().len()
    }
    /// Whether the packet has no octets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
