//! The outer header of tunnel mode (RFC 4301 section 5.1.2), with or without UDP (RFC 3948).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::{esp, ipv4, ipv6, udp};

use crate::{IV_LEN, TRAILER_LEN};

/// Octets that sealing puts in front of a packet at most: IPv6, UDP, ESP, IV.
pub const MAX_HEADROOM: usize = ipv6::HEADER_LEN + udp::HEADER_LEN + esp::HEADER_LEN + IV_LEN;
/// Octets that sealing puts behind a packet at most: padding, pad length, next header, ICV.
pub const MAX_TAILROOM: usize = 3 + TRAILER_LEN + esp_crypto::ICV_LEN;

/// What becomes of the DF bit in an outer IPv4 header (RFC 4301 section 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DontFragment {
    /// As in the inner header; set for an inner IPv6 packet, which no router fragments.
    #[default]
    Copy,
    /// Always set.
    Set,
    /// Always clear.
    Clear,
}

/// The ports of UDP-encapsulated ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UdpPorts {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// The outer addresses as the sender sees them: both of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ends {
    /// IPv4.
    V4 {
        /// Our address.
        source: Ipv4Addr,
        /// The peer's address.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Our address.
        source: Ipv6Addr,
        /// The peer's address.
        destination: Ipv6Addr,
    },
}

impl Ends {
    /// `None` for addresses of two families.
    pub const fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 { source, destination }),
            _ => None,
        }
    }

    /// Our outer address.
    #[inline]
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => IpAddr::V4(source),
            Self::V6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// The peer's outer address.
    #[inline]
    pub const fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => IpAddr::V4(destination),
            Self::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }
}

/// The ends of a tunnel as its sender sees them, and how packets travel between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// The outer addresses.
    pub ends: Ends,
    /// Ports of UDP encapsulation; `None` for plain ESP.
    pub udp: Option<UdpPorts>,
    /// The outer DF bit.
    pub dont_fragment: DontFragment,
    /// Whether the outer header has the DSCP of the inner one; otherwise it has zero (RFC 4301 section 5.1.2, RFC 2983 section 3.1).
    pub copy_dscp: bool,
}

impl Tunnel {
    /// Octets in front of the ciphertext.
    #[inline]
    pub(crate) const fn header_len(&self) -> usize {
        let ip = match self.ends {
            Ends::V4 { .. } => ipv4::HEADER_LEN,
            Ends::V6 { .. } => ipv6::HEADER_LEN,
        };
        let udp = if self.udp.is_some() { udp::HEADER_LEN } else { 0 };
        ip + udp + esp::HEADER_LEN + IV_LEN
    }

    /// Octets of the outer packet for an inner one of `inner_len`.
    #[inline]
    pub const fn outer_len(&self, inner_len: usize) -> usize {
        self.header_len() + inner_len + padding_len(inner_len) + TRAILER_LEN + esp_crypto::ICV_LEN
    }
}

/// Octets of padding that align the trailer to four octets (RFC 4303 section 2.4).
#[inline]
pub(crate) const fn padding_len(payload_len: usize) -> usize {
    payload_len.wrapping_add(TRAILER_LEN).wrapping_neg() & 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(source: IpAddr, udp: bool) -> Tunnel {
        let udp = udp.then_some(UdpPorts { source: 1, destination: 1 });
        Tunnel { ends: Ends::new(source, source).unwrap(), udp, dont_fragment: DontFragment::Copy, copy_dscp: true }
    }

    #[test]
    fn lengths_of_well_known_packets() {
        // 20 + 8 + 8 + 1438 + 2 + 16 = 1492, padded to a multiple of four behind the IV; with UDP eight more, with IPv6 twenty.
        let (four, six) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        assert_eq!([1438, 1439].map(|len| tunnel(four, false).outer_len(len)), [1492, 1496]);
        assert_eq!([1438, 1439].map(|len| tunnel(four, true).outer_len(len)), [1500, 1504]);
        assert_eq!([1438, 1439].map(|len| tunnel(six, false).outer_len(len)), [1512, 1516]);
        assert_eq!([1438, 1439].map(|len| tunnel(six, true).outer_len(len)), [1520, 1524]);
        assert_eq!(tunnel(six, true).header_len(), MAX_HEADROOM);
    }

    #[test]
    fn both_ends_are_of_one_family() {
        let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(Ends::new(four, six), None);
        assert_eq!(Ends::new(six, four), None);
        assert_eq!(Ends::new(six, six).map(|ends| (ends.source(), ends.destination())), Some((six, six)));
    }

    #[test]
    fn padding_aligns_to_four() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(padding_len), [2, 1, 0, 3, 2, 1]);
    }
}
