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

    /// Length of the packet in octets.
    fn len(&self) -> usize {
        self.bytes().len()
    }
    /// Whether the packet has no octets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
