//! The outer header of tunnel mode (RFC 4301 section 5.1.2.1), with or without UDP (RFC 3948).

use core::net::Ipv4Addr;

use packet::{esp, ipv4, udp};

use crate::{IV_LEN, TRAILER_LEN};

/// Octets that sealing puts in front of a packet at most: IPv4, UDP, ESP, IV.
pub const MAX_HEADROOM: usize = ipv4::HEADER_LEN + udp::HEADER_LEN + esp::HEADER_LEN + IV_LEN;
/// Octets that sealing puts behind a packet at most: padding, pad length, next header, ICV.
pub const MAX_TAILROOM: usize = 3 + TRAILER_LEN + esp_crypto::ICV_LEN;

/// What becomes of the DF bit in the outer header (RFC 4301 section 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DontFragment {
    /// As in the inner header.
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

/// The ends of a tunnel as its sender sees them, and how packets travel between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// Our outer address.
    pub source: Ipv4Addr,
    /// The peer's outer address.
    pub destination: Ipv4Addr,
    /// Ports of UDP encapsulation; `None` for plain ESP.
    pub udp: Option<UdpPorts>,
    /// The outer DF bit.
    pub dont_fragment: DontFragment,
}

impl Tunnel {
    /// Octets in front of the ciphertext.
    #[inline]
    pub(crate) const fn header_len(&self) -> usize {
        MAX_HEADROOM - if self.udp.is_some() { 0 } else { udp::HEADER_LEN }
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

    fn tunnel(udp: Option<UdpPorts>) -> Tunnel {
        Tunnel { source: Ipv4Addr::LOCALHOST, destination: Ipv4Addr::LOCALHOST, udp, dont_fragment: DontFragment::Copy }
    }

    #[test]
    fn lengths_of_well_known_packets() {
        // 20 + 8 + 8 + 1438 + 2 + 16 = 1492, padded to a multiple of four behind the IV; with UDP eight more.
        assert_eq!(tunnel(None).outer_len(1438), 1492);
        assert_eq!(tunnel(None).outer_len(1439), 1496);
        assert_eq!(tunnel(Some(UdpPorts { source: 1, destination: 1 })).outer_len(1438), 1500);
        assert_eq!(tunnel(Some(UdpPorts { source: 1, destination: 1 })).outer_len(1439), 1504);
    }

    #[test]
    fn padding_aligns_to_four() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(padding_len), [2, 1, 0, 3, 2, 1]);
    }
}
