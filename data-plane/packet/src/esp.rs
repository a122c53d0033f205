//! The clear part of an ESP packet (RFC 4303 section 2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               Security Parameters Index (SPI)                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Sequence Number                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use crate::octets;

/// Octets of SPI and sequence number.
pub const HEADER_LEN: usize = 8;

/// SPI and the sequence number as sent: the low 32 bits of an extended one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EspHeader {
    /// Security Parameters Index, unchecked.
    pub spi: u32,
    /// Sequence Number field.
    pub sequence: u32,
}

impl EspHeader {
    /// Reads the header; `None` where there are fewer than eight octets.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self { spi: u32::from_be_bytes(octets(bytes, 0)?), sequence: u32::from_be_bytes(octets(bytes, 4)?) })
    }

    /// The octets of the header.
    #[inline]
    pub fn to_octets(self) -> [u8; HEADER_LEN] {
        ((u64::from(self.spi) << 32) | u64::from(self.sequence)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write_are_inverse() {
        let octets = [1, 2, 3, 4, 5, 6, 7, 8];
        let header = EspHeader::parse(&octets).unwrap();
        assert_eq!(header, EspHeader { spi: 0x0102_0304, sequence: 0x0506_0708 });
        assert_eq!(header.to_octets(), octets);
        assert_eq!(EspHeader::parse(&octets[..7]), None);
    }
}
