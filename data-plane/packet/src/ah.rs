//! The Authentication Header (RFC 4302 section 2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Header   |  Payload Len  |          RESERVED             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 Security Parameters Index (SPI)               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Sequence Number Field                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                Integrity Check Value-ICV (variable)           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

mod mutable;

use crate::octets;

pub use mutable::zero_mutable;

/// Octets in front of the ICV.
pub const FIXED_LEN: usize = 12;

/// The header but for its ICV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AhHeader {
    /// What follows the header.
    pub next_header: u8,
    /// Octets of the header, ICV and padding included.
    pub len: usize,
    /// Security Parameters Index, unchecked.
    pub spi: u32,
    /// Sequence Number field: the low 32 bits of an extended one.
    pub sequence: u32,
}

impl AhHeader {
    /// Reads the header; `None` where it is shorter than its fixed part, or longer than the octets.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [next_header, words, ..] = octets::<FIXED_LEN>(bytes, 0)?;
        // In words of four octets, less two (section 2.2).
        let len = (usize::from(words) + 2) * 4;
        if len < FIXED_LEN || bytes.len() < len {
            return None;
        }
        let spi = u32::from_be_bytes(octets(bytes, 4)?);
        Some(Self { next_header, len, spi, sequence: u32::from_be_bytes(octets(bytes, 8)?) })
    }

    /// The octets in front of the ICV. `None` where the length is no multiple of four or beyond what the field tells.
    #[inline]
    pub fn to_octets(&self) -> Option<[u8; FIXED_LEN]> {
        let words = self.len.checked_sub(8).filter(|rest| rest.is_multiple_of(4)).and_then(|rest| u8::try_from(rest / 4).ok())?;
        let ([a, b, c, d], [e, f, g, h]) = (self.spi.to_be_bytes(), self.sequence.to_be_bytes());
        Some([self.next_header, words, 0, 0, a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write_are_inverse() {
        let octets = [6, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa];
        let header = AhHeader::parse(&octets).unwrap();
        assert_eq!(header, AhHeader { next_header: 6, len: 24, spi: 0x0102_0304, sequence: 0x0506_0708 });
        assert_eq!(header.to_octets().as_ref().map(|fixed| &fixed[..]), octets.get(..FIXED_LEN));
        assert_eq!(AhHeader::parse(&octets[..23]), None);
    }

    #[test]
    fn a_length_is_at_least_that_of_the_fixed_part() {
        let with_words = |words| AhHeader::parse(&[6, words, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]).map(|header| header.len);
        assert_eq!([0, 1, 2, 3].map(with_words), [None, Some(12), Some(16), None]);
        let written = |len| AhHeader { next_header: 4, len, spi: 1, sequence: 1 }.to_octets().map(|octets| octets[1]);
        assert_eq!([4, 12, 26, 1028, 1032].map(written), [None, Some(1), None, Some(255), None]);
    }
}
