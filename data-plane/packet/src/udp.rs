//! UDP (RFC 768) and what RFC 3948 carries in it on port 4500.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Source Port          |        Destination Port       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Length            |            Checksum           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::IpAddr;

use crate::{be16, checksum};

/// Octets of the header.
pub const HEADER_LEN: usize = 8;
/// Port of IKE.
pub const PORT_IKE: u16 = 500;
/// Port of IKE and ESP behind a NAT (RFC 3948).
pub const PORT_NAT_T: u16 = 4500;
/// Four zero octets in front of IKE on port 4500, where ESP has its SPI (RFC 3948 section 2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The checksum field; zero means none was computed.
    pub checksum: u16,
    /// The data.
    pub payload: &'a [u8],
    segment: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads the payload of an IP packet. Octets beyond the UDP length are ignored; `None` where header or length do not fit.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let segment = bytes.get(..usize::from(be16(bytes, 4)?))?;
        let payload = segment.get(HEADER_LEN..)?;
        Some(Self { source_port: be16(bytes, 0)?, destination_port: be16(bytes, 2)?, checksum: be16(bytes, 6)?, payload, segment })
    }

    /// Whether the checksum is right, or absent. Over IPv6 it may not be absent (RFC 8200 section 8.1).
    pub fn checksum_ok(&self, source: IpAddr, destination: IpAddr) -> bool {
        match (self.checksum, source) {
            (0, IpAddr::V4(_)) => true,
            (0, IpAddr::V6(_)) => false,
            _ => checksum::pseudo(source, destination, crate::ipv4::PROTOCOL_UDP, self.segment) == 0,
        }
    }
}

/// What a NAT-keepalive carries (RFC 3948 section 2.3).
pub const NAT_KEEPALIVE: [u8; 1] = [0xff];

/// What a datagram to port 4500 carries (RFC 3948 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatTraversal<'a> {
    /// One octet of 0xff that keeps a NAT mapping alive.
    Keepalive,
    /// An IKE message; the non-ESP marker is taken off.
    Ike(&'a [u8]),
    /// An ESP packet, from its SPI.
    Esp(&'a [u8]),
}

impl<'a> NatTraversal<'a> {
    /// Tells them apart by the first four octets; `None` where there are fewer and it is no keepalive.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        match payload.split_first_chunk::<4>() {
            Some((marker, message)) if *marker == NON_ESP_MARKER => Some(Self::Ike(message)),
            Some(_) => Some(Self::Esp(payload)),
            None => (payload == NAT_KEEPALIVE).then_some(Self::Keepalive),
        }
    }
}

/// A header for `payload_len` octets of data with checksum zero, as UDP-encapsulated ESP should have it (RFC 3948 section 2.1). `None` where the
/// datagram would exceed 65,535 octets.
#[inline]
pub fn header_without_checksum(source_port: u16, destination_port: u16, payload_len: usize) -> Option<[u8; HEADER_LEN]> {
    let [a, b] = source_port.to_be_bytes();
    let [c, d] = destination_port.to_be_bytes();
    let [e, f] = u16::try_from(payload_len.checked_add(HEADER_LEN)?).ok()?.to_be_bytes();
    Some([a, b, c, d, e, f, 0, 0])
}

/// Computes the checksum of a datagram whose header starts `segment` and writes it there. A sum of zero is sent as all ones, since zero means that there
/// is none (RFC 768). Does nothing where there is no header.
#[inline]
pub fn fill_checksum(source: IpAddr, destination: IpAddr, segment: &mut [u8]) {
    const FIELD: core::ops::Range<usize> = 6..8;
    if let Some(field) = segment.get_mut(FIELD) {
        field.fill(0);
    }
    let sum = match checksum::pseudo(source, destination, crate::ipv4::PROTOCOL_UDP, segment) {
        0 => u16::MAX,
        sum => sum,
    };
    if let Some(field) = segment.get_mut(FIELD) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_field_rules() {
        let bytes = [1, 0xf4, 1, 0xf4, 0, 9, 0, 0, 0x61, 0x62];
        let udp = Udp::parse(&bytes).unwrap();
        assert_eq!((udp.source_port, udp.destination_port, udp.payload), (500, 500, &b"a"[..]));
        let with_length = |n| [1, 0xf4, 1, 0xf4, 0, n, 0, 0, 0x61, 0x62];
        assert!(Udp::parse(&with_length(8)).unwrap().payload.is_empty());
        assert_eq!(Udp::parse(&with_length(7)), None);
        assert!(Udp::parse(&with_length(10)).is_some());
        assert_eq!(Udp::parse(&with_length(11)), None);
        assert_eq!(Udp::parse(&bytes[..5]), None);
    }

    #[test]
    fn a_checksum_is_verified_where_there_is_one() {
        // 10.0.0.1:1000 -> 10.0.0.2:53 "hi", as scapy 2.5 writes it.
        let (source, destination) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut bytes = [0x03, 0xe8, 0, 53, 0, 10, 0x7f, 0x51, b'h', b'i'];
        assert!(Udp::parse(&bytes).unwrap().checksum_ok(source, destination));
        bytes[9] ^= 1;
        assert!(!Udp::parse(&bytes).unwrap().checksum_ok(source, destination));
        bytes[6..8].copy_from_slice(&[0, 0]);
        assert!(Udp::parse(&bytes).unwrap().checksum_ok(source, destination));
    }

    #[test]
    fn port_4500_carries_three_things() {
        assert_eq!(NatTraversal::parse(&[0xff]), Some(NatTraversal::Keepalive));
        assert_eq!(NatTraversal::parse(&[0, 0, 0, 0, 9]), Some(NatTraversal::Ike(&[9])));
        assert_eq!(NatTraversal::parse(&[0, 0, 0, 1]), Some(NatTraversal::Esp(&[0, 0, 0, 1])));
        assert_eq!(NatTraversal::parse(&[0, 0, 0]), None);
        assert_eq!(NatTraversal::parse(&[]), None);
    }

    #[test]
    fn a_header_ends_at_sixteen_bits_of_length() {
        assert_eq!(header_without_checksum(4500, 4501, 1), Some([0x11, 0x94, 0x11, 0x95, 0, 9, 0, 0]));
        assert!(header_without_checksum(1, 1, 65_527).is_some());
        assert!(header_without_checksum(1, 1, 65_528).is_none());
        assert!(header_without_checksum(1, 1, usize::MAX).is_none());
    }
}
