//! A packet on the heap.

use alloc::vec;
use alloc::vec::Vec;

use crate::Buffer;

/// A [`Buffer`] in a vector of fixed size, for tests, fuzzers and tools. It never grows: like an mbuf it runs out of room.
#[derive(Debug, Clone)]
pub struct VecBuffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

#[expect(clippy::indexing_slicing, reason = "start <= end <= the length of the storage: nothing outside sets them")]
impl VecBuffer {
    /// A packet of `bytes` with `headroom` octets in front and `tailroom` behind.
    pub fn new(bytes: &[u8], headroom: usize, tailroom: usize) -> Self {
        let end = headroom + bytes.len();
        let mut storage = vec![0; end + tailroom];
        storage[headroom..end].copy_from_slice(bytes);
        Self { storage, start: headroom, end }
    }

    /// A packet with the room of a usual mbuf: 128 octets at either end.
    pub fn from_packet(bytes: &[u8]) -> Self {
        Self::new(bytes, 128, 128)
    }
}

#[expect(clippy::indexing_slicing, reason = "start <= end <= the length of the storage: nothing outside sets them")]
impl Buffer for VecBuffer {
    fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    fn headroom(&self) -> usize {
        self.start
    }

    fn tailroom(&self) -> usize {
        self.storage.len() - self.end
    }

    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        self.storage.get_mut(self.start..self.start + n)
    }

    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        self.end += n;
        self.storage.get_mut(self.end - n..self.end)
    }

    fn trim_front(&mut self, n: usize) -> Option<()> {
        if n > self.len() {
            return None;
        }
        self.start += n;
        Some(())
    }

    fn trim_back(&mut self, n: usize) -> Option<()> {
        if n > self.len() {
            return None;
        }
        self.end -= n;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_to_the_last_octet_and_no_further() {
        let mut b = VecBuffer::new(&[7; 4], 3, 5);
        assert!(b.prepend(4).is_none() && b.append(6).is_none());
        assert_eq!((b.len(), b.headroom(), b.tailroom()), (4, 3, 5), "a refusal changes nothing");
        assert_eq!(b.prepend(3).map(|s| s.len()), Some(3));
        assert_eq!(b.append(5).map(|s| s.len()), Some(5));
        assert_eq!((b.len(), b.headroom(), b.tailroom()), (12, 0, 0));
        assert!(b.trim_front(13).is_none() && b.trim_back(13).is_none());
        assert!(b.trim_front(3).is_some() && b.trim_back(5).is_some());
        assert_eq!(b.bytes(), &[7; 4]);
        assert!(b.enclose(4, 4, 0).is_none() && b.enclose(0, 5, 0).is_none() && b.enclose(3, 3, 7).is_none() && b.keep(3, 2).is_none());
        assert_eq!((b.bytes(), b.headroom(), b.tailroom()), (&[7; 4][..], 3, 5));
        assert_eq!(b.enclose(3, 3, 6).map(|s| s.len()), Some(12));
        assert_eq!((&b.bytes()[3..6], b.headroom(), b.tailroom()), (&[7; 3][..], 0, 0));
        assert!(b.keep(3, 3).is_some() && b.bytes() == [7; 3] && b.append(1).is_some());
        assert!(b.trim_back(4).is_some() && b.is_empty());
    }
}
